internal import Base
internal import Net

/// Whether the web server lets in what may be uploaded.
extension Outside {
    func uploadSize() -> Finding {
        let size = settings[Settings.blobSizeMax]
        let url = url(Self.uploadPath)
        do throws(HTTPClientError) {
            // The largest is only announced: whoever would not take it says so before it comes (RFC 9110 §10.1.1).
            let connection = try client.connect(url, deadlineMilliseconds: Self.deadlineMilliseconds)
            let origin = Origin(front)
            let head: Bytes =
                "POST " + Self.uploadPath + " HTTP/1.1\r\nHost: " + origin.host + origin.port
                + "\r\nContent-Type: application/octet-stream\r\nExpect: 100-continue\r\nContent-Length: "
                + Bytes(String(size)) + "\r\n\r\n"
            try connection.send(head.array)
            let answer = try connection.receive { $0.position(of: 0x0A) != nil }
            if answer.starts(with: "HTTP/1.1 413") { return tooSmall(size) }
            // A smaller one is sent: some find out only then.
            var request = HTTPRequest(
                .post, url, headers: [("Content-Type", "application/octet-stream")],
                body: Bytes([UInt8](repeating: 0, count: min(size, Self.sentBodySize))), sizeMax: Self.answerSizeMax,
                redirects: .returned)
            request.deadlineMilliseconds = Self.deadlineMilliseconds * 4
            let response = try client.send(request)
            if response.status == 413 { return tooSmall(min(size, Self.sentBodySize)) }
            guard Self.isOurs(response) else {
                return .wrong(
                    "\(url) answers \(response.status), and not from the responder", "let the web server hand it on",
                    lines(.bodySize))
            }
            // Caddy 2.6.2 cuts a body at its limit and refuses nothing: only an upload with an account would show that.
            return .fine("\(size) bytes were announced and not refused (SKYSTEAD_BLOB_SIZE_MAX)")
        } catch {
            return .wrong("an upload breaks off: \(error)", "let the web server take it whole", lines(.bodySize))
        }
    }

    private func tooSmall(_ size: Int) -> Finding {
        .wrong(
            "the web server refuses an upload of \(size) bytes, which SKYSTEAD_BLOB_SIZE_MAX allows",
            "raise its limit for this path", lines(.bodySize))
    }
}
