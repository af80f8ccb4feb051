internal import ATProto
internal import Base

/// The frames of `com.atproto.sync.subscribeRepos`: a header and a payload, both DAG-CBOR with keys in DRISL order.
///
/// https://atproto.com/specs/event-stream, https://atproto.com/specs/sync
enum EventFrame {
    static func frame(_ kind: StaticString, _ payload: CBORWriter) -> [UInt8] {
        var out = header(kind, capacity: payload.out.count + 32)
        out.out.append(contentsOf: payload.out)
        return out.out
    }

    private static func header(_ kind: StaticString, capacity: Int) -> CBORWriter {
        var out = CBORWriter(capacity: capacity)
        out.map(2)
        out.name("t")
        out.text("#" + Bytes(stringLiteral: kind))
        out.name("op")
        out.integer(1)
        return out
    }

    /// One operation of a commit.
    struct Operation {
        let path: Bytes
        let value: CID?
        let previous: CID?
    }

    struct Commit {
        let did: DID
        let commit: CommitInfo
        let since: TID?
        let previousData: CID?
        let operations: [Operation]
        /// A CAR.
        let blocks: [UInt8]
    }

    /// A `#commit` that lacks only what its place in the stream says of it.
    struct UnnumberedCommit {
        let did: DID
        /// Up to the number, and what follows the time.
        private let start: [UInt8]
        private let rest: [UInt8]

        init(_ event: Commit) {
            did = event.did
            var out = EventFrame.header("commit", capacity: event.operations.count * 160 + 128)
            out.map(event.previousData == nil ? 11 : 12)
            out.name("ops")
            out.array(event.operations.count)
            for operation in event.operations { EventFrame.append(operation, to: &out) }
            out.name("rev")
            out.text(event.commit.rev.bytes)
            out.name("seq")
            start = out.out
            out = CBORWriter(capacity: event.blocks.count + 256)
            out.name("blobs")
            out.array(0)
            out.name("since")
            if let since = event.since { out.text(since.bytes) } else { out.null() }
            out.name("blocks")
            event.blocks.withUnsafeBytes { out.bytes($0) }
            out.name("commit")
            out.link(event.commit.cid)
            out.name("rebase")
            out.bool(false)
            out.name("tooBig")
            out.bool(false)
            if let previousData = event.previousData {
                out.name("prevData")
                out.link(previousData)
            }
            rest = out.out
        }

        func frame(seq: Int, time: Bytes) -> [UInt8] {
            var out = CBORWriter(capacity: start.count + rest.count + 128)
            out.out.append(contentsOf: start)
            out.integer(Int64(seq))
            out.name("repo")
            out.text(did.bytes)
            out.name("time")
            out.text(time)
            out.out.append(contentsOf: rest)
            return out.out
        }
    }

    private static func append(_ operation: Operation, to out: inout CBORWriter) {
        out.map(operation.previous == nil ? 3 : 4)
        out.name("cid")
        out.optionalLink(operation.value)
        out.name("path")
        out.text(operation.path)
        if let previous = operation.previous {
            out.name("prev")
            out.link(previous)
        }
        out.name("action")
        if operation.value == nil {
            out.name("delete")
        } else {
            out.name(operation.previous == nil ? "create" : "update")
        }
    }

    static func identity(did: DID, handle: Handle?, seq: Int, time: Bytes) -> CBORWriter {
        var out = start(handle == nil ? 3 : 4, did: did, rev: nil, seq: seq, time: time)
        if let handle {
            out.name("handle")
            out.text(handle.bytes)
        }
        return out
    }

    static func account(did: DID, status: RepoStatus, seq: Int, time: Bytes) -> CBORWriter {
        var out = start(status == .active ? 4 : 5, did: did, rev: nil, seq: seq, time: time)
        out.name("active")
        out.bool(status == .active)
        if status != .active {
            out.name("status")
            out.text(Bytes(status.rawValue))
        }
        return out
    }

    static func sync(did: DID, commit: CommitInfo, block: Bytes, seq: Int, time: Bytes) -> CBORWriter {
        var car: [UInt8] = []
        CARWriter.appendHeader(commit.cid, to: &car)
        block.withUnsafeBytes { CARWriter.append(commit.cid, $0, to: &car) }
        var out = start(5, did: did, rev: commit.rev, seq: seq, time: time)
        out.name("blocks")
        car.withUnsafeBytes { out.bytes($0) }
        return out
    }

    private static func start(_ count: Int, did: DID, rev: TID?, seq: Int, time: Bytes) -> CBORWriter {
        var out = CBORWriter()
        out.map(count)
        out.name("did")
        out.text(did.bytes)
        if let rev {
            out.name("rev")
            out.text(rev.bytes)
        }
        out.name("seq")
        out.integer(Int64(seq))
        out.name("time")
        out.text(time)
        return out
    }
}

extension CBORWriter {
    /// A text known at compile time.
    fileprivate mutating func name(_ name: StaticString) { text(name) }
}
