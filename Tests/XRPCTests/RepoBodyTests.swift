import Accounts
import Foundation
import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Web
@testable import XRPCHandlers

/// The answers that are no JSON: CARs, looked into as a stranger would, and blobs.
@Suite struct RepoBodyTests {
    struct Answer {
        let status: Int
        let headers: [String: String]
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
    }

    /// A server with an account, and its access token.
    struct Home {
        let world: World
        let token: String
        let did = "did:web:alice.home.test"

        init(_ engine: Engine) throws {
            world = try World(engine)
            let (status, body) = try world.call(
                .post, "com.atproto.server.createAccount",
                json: """
                    {"handle":"alice.home.test","email":"alice@example.com","password":"correct horse",
                     "did":"did:web:alice.home.test"}
                    """)
            #expect(status == 200, "\(body)")
            token = try #require(JSON.parsePlain(Bytes(body))["accessJwt"]?.text).description
        }

        func get(_ method: String, _ query: String, token: String? = nil) throws -> Answer {
            let headers = token.map { [("authorization", "Bearer \($0)")] } ?? []
            return try answer(world.request(.get, "/xrpc/\(method)?\(query)", headers: headers))
        }

        func upload(_ bytes: [UInt8], type: String) throws -> Answer {
            try answer(
                world.request(
                    .post, "/xrpc/com.atproto.repo.uploadBlob",
                    headers: [("authorization", "Bearer \(token)"), ("content-type", type)], body: bytes))
        }

        func answer(_ request: Request) throws -> Answer {
            let response = world.respond(request)
            var body: [UInt8] = []
            switch response.body {
            case .bytes(let bytes): body = bytes
            case .stream(let write): try write { body.append(contentsOf: $0) }
            case .file(let path): body = path.bytes.array
            }
            var headers: [String: String] = [:]
            for (name, value) in response.headers { headers["\(name)".lowercased()] = value.bytes.description }
            return Answer(status: response.status, headers: headers, body: body)
        }

        func create(_ collection: String, _ rkey: String, _ record: String) throws -> (status: Int, body: Value) {
            let (status, body) = try world.call(
                .post, "com.atproto.repo.createRecord", token: token,
                json: "{\"repo\":\"\(did)\",\"collection\":\"\(collection)\",\"rkey\":\"\(rkey)\",\"record\":\(record)}"
            )
            return (status, try JSON.parsePlain(Bytes(body)))
        }
    }

    struct Car {
        let root: CID
        let order: [CID]
        let blocks: [CID: Bytes]

        init(_ bytes: [UInt8]) throws {
            let reader = try CARReader(Bytes(bytes))
            var order: [CID] = []
            var blocks: [CID: Bytes] = [:]
            try reader.each { cid, block in
                order.append(cid)
                blocks[cid] = Bytes(block)
            }
            (root, self.order, self.blocks) = (reader.root, order, blocks)
        }

        func commit() throws -> Commit { try Commit.decode(try #require(blocks[root])) }

        func tree() throws -> MST {
            let blocks = blocks
            return try MST(root: commit().data) { cid in
                guard let block = blocks[cid] else { throw MSTError(.missingBlock, in: cid) }
                return try MSTNode.decode(block, cid: cid)
            }
        }
    }

    @Test(arguments: Engine.all) func repositories(_ engine: Engine) throws {
        let home = try Home(engine)
        for number in 0..<30 {
            #expect(try home.create("com.example.thing", "k\(number)", "{\"n\":\(number)}").status == 200)
        }
        let middle = try JSON.parsePlain(Bytes(home.get("com.atproto.sync.getLatestCommit", "did=\(home.did)").body))
        for number in 30..<60 {
            #expect(try home.create("com.example.thing", "k\(number)", "{\"n\":\(number)}").status == 200)
        }

        let answer = try home.get("com.atproto.sync.getRepo", "did=\(home.did)")
        #expect(answer.status == 200 && answer.headers["content-type"] == "application/vnd.ipld.car")
        let car = try Car(answer.body)
        let commit = try car.commit()
        let key = try home.world.app.keys.key(of: try #require(DID(home.did)))
        try commit.verify(did: try #require(DID(home.did)), key: key.publicKey)
        let builder = MSTBuilder()
        try car.tree().each { path, cid in
            #expect(car.blocks[cid] != nil)
            try builder.append(path, cid)
            return true
        }
        #expect(builder.count == 60)
        #expect(try builder.finish() == commit.data)
        #expect(try home.get("com.atproto.sync.getCheckout", "did=\(home.did)").body == answer.body)
        let latest = try JSON.parsePlain(Bytes(home.get("com.atproto.sync.getLatestCommit", "did=\(home.did)").body))
        #expect(latest["cid"]?.text == Bytes(car.root.text) && latest["rev"]?.text == commit.rev.bytes)

        let rev = try #require(middle["rev"]?.text)
        let newer = try Car(home.get("com.atproto.sync.getRepo", "did=\(home.did)&since=\(rev)").body)
        #expect(newer.root == car.root && newer.order.count < car.order.count)
        for number in [3, 45] {
            let record = DAGCBOR.encode(
                .map([
                    .init(key: "n", value: .integer(Int64(number))),
                    .init(key: "$type", value: .text("com.example.thing")),
                ]))
            #expect((newer.blocks[CID(hashing: record)] != nil) == (number == 45))
        }
    }

    @Test(arguments: Engine.all) func proofsAndBlocks(_ engine: Engine) throws {
        let home = try Home(engine)
        for number in 0..<40 {
            #expect(try home.create("com.example.thing", "k\(number)", "{\"n\":\(number)}").status == 200)
        }
        for (rkey, isThere) in [("k7", true), ("none", false)] {
            let answer = try home.get(
                "com.atproto.sync.getRecord", "did=\(home.did)&collection=com.example.thing&rkey=\(rkey)")
            #expect(answer.status == 200 && answer.headers["content-type"] == "application/vnd.ipld.car")
            let car = try Car(answer.body)
            let cid = try car.tree().get(Bytes("com.example.thing/\(rkey)"))
            #expect((cid != nil) == isThere)
            if let cid { #expect(car.blocks[cid] != nil) }
        }
        let whole = try Car(home.get("com.atproto.sync.getRepo", "did=\(home.did)").body)
        let wanted = [whole.order[0], whole.order[1], try #require(whole.order.last)]
        let query = wanted.map { "&cids=\($0)" }.joined()
        let blocks = try home.get("com.atproto.sync.getBlocks", "did=\(home.did)\(query)")
        #expect(blocks.status == 200)
        // No root: exactly what was asked for, in that order.
        var expected: [UInt8] = []
        CARWriter.appendHeader(nil, to: &expected)
        for cid in wanted {
            try #require(whole.blocks[cid]).withUnsafeBytes { CARWriter.append(cid, $0, to: &expected) }
        }
        #expect(blocks.body == expected)
    }

    @Test(arguments: Engine.all) func blobs(_ engine: Engine) throws {
        let home = try Home(engine)
        let png: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + (0..<200_000).map { UInt8($0 % 251) }
        let answer = try home.upload(png, type: "*/*")
        #expect(answer.status == 200)
        let cid = CID(hashing: png, codec: .raw)
        let link = "{\"$link\":\"\(cid)\"}"
        let blob = try JSON.parse(Bytes(answer.body))["blob"]
        #expect(blob == BlobReference(cid: cid, mimeType: "image/png", size: Int64(png.count)).value)
        #expect(answer.text.contains(link))
        let query = "did=\(home.did)&cid=\(cid)"
        #expect(try home.get("com.atproto.sync.getBlob", query).status == 400, "no record names it yet")

        func image(_ type: String, _ size: Int) -> String {
            "{\"image\":{\"$type\":\"blob\",\"ref\":\(link),\"mimeType\":\"\(type)\",\"size\":\(size)}}"
        }
        let rows: [(String, String, Bytes)] = [
            ("other type", image("image/jpeg", png.count), "InvalidMimeType"),
            ("other size", image("image/png", 1), "InvalidSize"),
            ("no size", image("image/png", 0), "InvalidRequest"),
        ]
        for (name, record, error) in rows {
            let answer = try home.create("com.example.thing", "a", record)
            #expect(answer.status == 400 && answer.body["error"]?.text == error, "\(name)")
        }
        #expect(try home.create("com.example.thing", "a", image("image/png", png.count)).status == 200)
        let served = try home.get("com.atproto.sync.getBlob", query)
        #expect(served.status == 200 && served.body == png)
        #expect(served.headers["content-type"] == "image/png")
        #expect(served.headers["x-content-type-options"] == "nosniff")
        #expect(served.headers["content-security-policy"] == "default-src 'none'; sandbox")
        #expect(served.headers["content-disposition"] == "attachment; filename=\"\(cid)\"")
        #expect(served.headers["content-length"] == "\(png.count)")
        #expect(try home.get("com.atproto.sync.listBlobs", "did=\(home.did)").text == "{\"cids\":[\"\(cid)\"]}")
        #expect(
            try home.get("com.atproto.repo.listMissingBlobs", "limit=5", token: home.token).text == "{\"blobs\":[]}")

        // A page that says it is an image is kept, and served, as a page.
        let page = Array("<!DOCTYPE html><script>alert(1)</script>".utf8)
        let upload = try JSON.parse(Bytes(home.upload(page, type: "image/png").body))
        #expect(upload["blob"]?["mimeType"]?.text == "text/html")
        let tooLarge = try home.upload([UInt8](repeating: 1, count: 5_242_881), type: "video/mp4")
        #expect(tooLarge.status == 413)
        #expect(try JSON.parse(Bytes(tooLarge.body))["error"]?.text == "PayloadTooLarge")
        #expect(try home.upload([], type: "text/plain").status == 400)
    }

    @Test(arguments: Engine.all) func tooLarge(_ engine: Engine) throws {
        let home = try Home(engine)
        let text = String(repeating: "x", count: 1_000_001)
        let answer = try home.create("com.example.thing", "a", "{\"t\":\"\(text)\"}")
        #expect(answer.status == 413 && answer.body["error"]?.text == "PayloadTooLarge")
        #expect(answer.body["message"]?.text == "request entity too large: more than 1000000 bytes", "J007: the limit")
    }

    /// What importRepo answers for what only large files show (C038 to C050 go through it in Tests/Conformance).
    @Test func refusedImports() {
        let rows: [(RepoImportError, Int, String, String)] = [
            (
                .unreferenced(max: 1_048_576), 400, "InvalidRepo",
                "too much unreferenced data: more than 1048576 bytes that the root does not reach"
            ),
            (.tooLarge(max: 5), 413, "PayloadTooLarge", "Repository is larger than 5 bytes"),
            (.repoChanged, 400, "InvalidSwap", "The repository was changed while it was imported. Try again."),
            (.abandoned, 503, "ServiceUnavailable", "The import was given up. Try again."),
        ]
        for (error, status, code, message) in rows {
            let failure = error.failure
            #expect(failure.xrpcStatus == status && failure.code == code && failure.message == message)
        }
    }
}
