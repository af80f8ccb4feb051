public import Base
internal import CWslay
internal import Glibc

/// Why a WebSocket peer is cut off, with the status code of its close frame (RFC 6455 §7.4.1).
public enum WebSocketError: Error, Equatable, Sendable {
    /// A frame that RFC 6455 forbids.
    case protocolError
    /// Text or a close reason that isn't UTF-8.
    case invalidPayload
    /// A message over the limit, in bytes or in fragments.
    case tooBig
    /// No memory for the parser.
    case internalError

    public var closeCode: Int {
        switch self {
        case .protocolError: 1_002
        case .invalidPayload: 1_007
        case .tooBig: 1_009
        case .internalError: 1_011
        }
    }
}

/// What arrived on a WebSocket.
public enum WebSocketEvent: Equatable, Sendable {
    case text(Bytes)
    case binary(Bytes)
    case ping(Bytes)
    case pong(Bytes)
    /// nil: the peer gave no code. Nothing is read after it.
    case close(code: Int?)
}

/// The receiving half of a WebSocket: bytes in, whole messages out. Framing by wslay, no extensions; what wslay leaves
/// to the application (masking, reserved bits and opcodes, order of fragments, UTF-8, close codes) is checked here.
public final class WebSocketFrames {
    /// The side that this is: a server takes masked frames only, a client unmasked ones only (RFC 6455 §5.1).
    public enum Role: Sendable { case server, client }

    /// Fragments of one message; more are a way to burn time.
    public static let fragmentsMax = 1_024

    private let role: Role
    private let messageSizeMax: Int
    private var context: wslay_frame_context_ptr?
    private let input = Input()

    private var frame: Frame?
    private var fragmented: UInt8?
    private var fragmentCount = 0
    private var message: [UInt8] = []
    private var isClosed = false
    private var failure: WebSocketError?

    private struct Frame {
        let opcode: UInt8
        let isFinal: Bool
        var remaining: UInt64
        var control: [UInt8] = []
        var isControl: Bool { opcode & 8 != 0 }
    }

    /// The bytes that wslay may take now.
    private final class Input {
        var bytes = UnsafeRawBufferPointer(start: nil, count: 0)
    }

    /// - Parameter messageSizeMax: The longest message in bytes; one byte more is `tooBig`.
    public init(_ role: Role, messageSizeMax: Int) {
        self.role = role
        self.messageSizeMax = messageSizeMax
        // One function for reading; the others are never called, since nothing is sent through wslay.
        var callbacks = wslay_frame_callbacks(send_callback: nil, recv_callback: takeInput, genmask_callback: nil)
        if wslay_frame_context_init(&context, &callbacks, Unmanaged.passUnretained(input).toOpaque()) != 0 {
            context = nil
        }
    }

    deinit { if let context { wslay_frame_context_free(context) } }

    /// Takes what came from the peer and returns the events that it completes. After a throw or a `close` nothing
    /// more is read.
    public func feed(_ bytes: UnsafeRawBufferPointer) throws(WebSocketError) -> [WebSocketEvent] {
        if let failure { throw failure }
        guard let context else { throw .internalError }
        input.bytes = bytes
        defer { input.bytes = UnsafeRawBufferPointer(start: nil, count: 0) }
        var events: [WebSocketEvent] = []
        while !isClosed {
            var block = wslay_frame_iocb()
            let count = withExtendedLifetime(input) { wslay_frame_recv(context, &block) }
            if count == Int(WSLAY_ERR_WANT_READ.rawValue) { break }
            do throws(WebSocketError) {
                guard count >= 0 else { throw .protocolError }
                try take(block, &events)
            } catch {
                failure = error
                throw error
            }
        }
        return events
    }

    public func feed(_ bytes: [UInt8]) throws(WebSocketError) -> [WebSocketEvent] {
        var result: Result<[WebSocketEvent], WebSocketError> = .success([])
        bytes.withUnsafeBytes { raw in
            result = Result { () throws(WebSocketError) -> [WebSocketEvent] in try feed(raw) }
        }
        return try result.get()
    }

    fileprivate static func fill(_ context: UnsafeMutableRawPointer, _ target: UnsafeMutableRawBufferPointer) -> Int {
        let input = Unmanaged<Input>.fromOpaque(context).takeUnretainedValue()
        let count = min(input.bytes.count, target.count)
        guard count > 0 else { return -1 }
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: input.bytes[..<count]))
        input.bytes = UnsafeRawBufferPointer(rebasing: input.bytes[count...])
        return count
    }

    /// One piece of a frame; the first piece brings the header.
    private func take(_ block: wslay_frame_iocb, _ events: inout [WebSocketEvent]) throws(WebSocketError) {
        var current: Frame
        if let frame { current = frame } else { current = try begin(block) }
        let piece = UnsafeRawBufferPointer(start: block.data, count: block.data_length)
        guard UInt64(piece.count) <= current.remaining else { throw .protocolError }
        current.remaining -= UInt64(piece.count)
        if current.isControl {
            current.control.append(contentsOf: piece)
        } else {
            message.append(contentsOf: piece)
        }
        guard current.remaining == 0 else {
            frame = current
            return
        }
        frame = nil
        try end(current, &events)
    }

    private func begin(_ block: wslay_frame_iocb) throws(WebSocketError) -> Frame {
        guard block.rsv == 0, (block.mask != 0) == (role == .server) else { throw .protocolError }
        let frame = Frame(opcode: block.opcode, isFinal: block.fin != 0, remaining: block.payload_length)
        switch frame.opcode {
        case 0:
            guard fragmented != nil else { throw .protocolError }
            fragmentCount += 1
        case 1, 2:
            guard fragmented == nil else { throw .protocolError }
            fragmented = frame.opcode
            fragmentCount = 1
        case 8, 9, 10:
            guard frame.isFinal, frame.remaining <= 125 else { throw .protocolError }
        default: throw .protocolError
        }
        if !frame.isControl {
            let (size, isOver) = UInt64(message.count).addingReportingOverflow(frame.remaining)
            guard !isOver, size <= UInt64(messageSizeMax), fragmentCount <= Self.fragmentsMax else { throw .tooBig }
        }
        return frame
    }

    private func end(_ frame: Frame, _ events: inout [WebSocketEvent]) throws(WebSocketError) {
        switch frame.opcode {
        case 8:
            events.append(.close(code: try Self.closeCode(frame.control)))
            isClosed = true
        case 9: events.append(.ping(Bytes(frame.control)))
        case 10: events.append(.pong(Bytes(frame.control)))
        default:
            guard frame.isFinal else { return }
            let whole = Bytes(message)
            message = []
            defer { fragmented = nil }
            if fragmented == 2 {
                events.append(.binary(whole))
            } else {
                guard whole.text != nil else { throw .invalidPayload }
                events.append(.text(whole))
            }
        }
    }

    /// The code of a close frame's payload (RFC 6455 §5.5.1, §7.4): empty, or two bytes and a reason in UTF-8.
    private static func closeCode(_ payload: [UInt8]) throws(WebSocketError) -> Int? {
        if payload.isEmpty { return nil }
        guard payload.count >= 2 else { throw .protocolError }
        let code = Int(payload[0]) << 8 | Int(payload[1])
        switch code {
        case 1_000...1_003, 1_007...1_014, 3_000...4_999: break
        default: throw .protocolError
        }
        guard Bytes(Array(payload[2...])).text != nil else { throw .invalidPayload }
        return code
    }
}

private func takeInput(
    _ buffer: UnsafeMutablePointer<UInt8>?, _ count: Int, _ flags: Int32, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let buffer, let context else { return -1 }
    return WebSocketFrames.fill(context, UnsafeMutableRawBufferPointer(start: buffer, count: count))
}

/// The sending half: a frame is prepared once, as bytes. A server's frames are unmasked, so one serves all peers.
public enum WebSocketFrame {
    public enum Opcode: UInt8, Sendable {
        case text = 1
        case binary = 2
        case close = 8
        case ping = 9
        case pong = 10
    }

    /// The longest header of an unmasked frame.
    public static let headerSizeMax = 10

    /// Writes the header of one whole unmasked frame into `target` (at least `headerSizeMax` bytes); returns its size.
    public static func writeHeader(_ opcode: Opcode, payloadCount: Int, to target: UnsafeMutableRawBufferPointer) -> Int
    {
        target[0] = 0x80 | opcode.rawValue
        if payloadCount < 126 {
            target[1] = UInt8(payloadCount)
            return 2
        }
        let width = payloadCount < 65_536 ? 2 : 8
        target[1] = width == 2 ? 126 : 127
        for place in 0..<width {
            target[2 + place] = UInt8(truncatingIfNeeded: payloadCount >> (8 * (width - 1 - place)))
        }
        return 2 + width
    }

    /// One whole frame. A client gives a fresh random `mask` (RFC 6455 §5.3), a server none.
    public static func encode(
        _ opcode: Opcode, _ payload: Bytes, mask: (UInt8, UInt8, UInt8, UInt8)? = nil
    ) -> [UInt8] {
        let room = headerSizeMax + 4 + payload.count
        return [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
            let target = UnsafeMutableRawBufferPointer(buffer)
            count = writeHeader(opcode, payloadCount: payload.count, to: target)
            guard let mask else {
                for byte in payload {
                    target[count] = byte
                    count += 1
                }
                return
            }
            target[1] |= 0x80
            let keys = [mask.0, mask.1, mask.2, mask.3]
            for byte in keys {
                target[count] = byte
                count += 1
            }
            for (index, byte) in payload.enumerated() {
                target[count] = byte ^ keys[index & 3]
                count += 1
            }
        }
    }

    /// A close frame with its code and a short reason.
    public static func close(_ code: Int, _ reason: StaticString = "") -> [UInt8] {
        let payload = [UInt8(truncatingIfNeeded: code >> 8), UInt8(truncatingIfNeeded: code)]
        return encode(.close, Bytes(payload) + Bytes(stringLiteral: reason))
    }
}
