internal import Base
internal import Net

/// Whether the web server lets in what may be uploaded.
extension Outside {
    /// First the largest upload is announced, then one is sent; the responder refuses it for want of an account.
    func uploadSize() -> Finding {
        let size = settings[Settings.blobSizeMax]
        do throws(HTTPClientError) {
            // Whoever looks at the length says so before the body comes (RFC 9110 §10.1.1).
            let announced = try upload(size, asking: true)
            if announced.status == 413 { return refused(size) }
            // Others find out only when they have read as much as they take.
            let sent = min(size, Self.sentBodySizeMax)
            let answer = try upload(sent, asking: false)
            if answer.status == 413 { return refused(sent) }
            guard answer.isOurs else {
                return .wrong(
                    "\(url(Self.uploadPath)) answers \(answer.status.map(String.init) ?? "nothing"), and not from the "
                        + "responder", "let the web server hand it on", lines(.bodySize))
            }
            // Caddy 2.6.2 cuts a body at its limit, hands that on and says nothing. But who leaves a body unread must
            // close the connection (RFC 9112 §9.3), and says that; one that closes every connection says nothing by it.
            if answer.closes, try !upload(1, asking: false).closes {
                return .wrong(
                    "the web server takes only a part of an upload of \(sent) bytes, which SKYSTEAD_BLOB_SIZE_MAX "
                        + "allows", "raise its limit for this path", lines(.bodySize))
            }
            let rest = sent < size ? "; \(size) were announced and not refused" : ""
            return .fine("an upload of \(sent) bytes gets in\(rest) (SKYSTEAD_BLOB_SIZE_MAX)")
        } catch .timeout {
            return .warning(
                "an upload of \(min(size, Self.sentBodySizeMax)) bytes takes longer than "
                    + "\(Self.sentBodyMilliseconds / 1_000) s", "look again from a machine with a faster way to it")
        } catch {
            return .wrong("an upload breaks off: \(error)", "let the web server take it whole", lines(.bodySize))
        }
    }

    private func refused(_ size: Int) -> Finding {
        .wrong(
            "the web server refuses an upload of \(size) bytes, which SKYSTEAD_BLOB_SIZE_MAX allows",
            "raise its limit for this path", lines(.bodySize))
    }

    /// The head of an answer.
    private struct Answer {
        let status: Int?
        /// The responder names each answer; a web server that answers by itself does not.
        let isOurs: Bool
        /// The connection ends with it.
        let closes: Bool

        init(_ head: Bytes) {
            let lines = head.split(on: 0x0A).map { $0.trimming("\r ").lowercasedASCII }
            let words = lines.first?.split(on: 0x20) ?? []
            status = words.count > 1 ? words[1].decimal : nil
            isOurs = lines.contains { $0.starts(with: "x-request-id:") }
            closes = lines.contains { $0.starts(with: "connection:") && $0.ends(with: "close") }
        }
    }

    /// Uploads `size` zeros and returns what comes back; `asking`: only says that it would. What is answered before the
    /// body was sent counts, too.
    private func upload(_ size: Int, asking: Bool) throws(HTTPClientError) -> Answer {
        let connection = try client.connect(
            url(Self.uploadPath),
            deadlineMilliseconds: asking ? Self.deadlineMilliseconds : Self.sentBodyMilliseconds)
        let origin = Origin(front)
        let head: Bytes =
            "POST " + Self.uploadPath + " HTTP/1.1\r\nHost: " + origin.host + origin.port
            + "\r\nContent-Type: application/octet-stream\r\nContent-Length: " + Bytes(String(size))
            + (asking ? "\r\nExpect: 100-continue\r\n\r\n" : "\r\n\r\n")
        try connection.send(head.array)
        var wasCut = false
        if !asking {
            let piece = [UInt8](repeating: 0, count: 1 << 16)
            var left = size
            while left > 0, !wasCut {
                do throws(HTTPClientError) {
                    try connection.send(left < piece.count ? Array(piece.prefix(left)) : piece)
                    left -= piece.count
                } catch .unreachable {
                    // It has closed: what it said before is still to be read.
                    wasCut = true
                }
            }
        }
        let answer = Answer(try connection.receive { $0.range(of: "\r\n\r\n") != nil })
        if wasCut, answer.status == nil { throw .unreachable }
        return answer
    }
}
