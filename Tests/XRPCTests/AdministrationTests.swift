import ATProto
import Accounts
import Base
import Crypto
import Foundation
import Hosting
import Identity
import Mail
import Moderation
import Net
import Repos
import Storage
import TestSupport
import Testing
import Web
import XRPCHandlers

/// What transcripts can't show of administration: tokens that the moderation service signs, the log, keys, reports that
/// are passed on, and deletion.
@Suite struct AdministrationTests {
    private static let admin = ("authorization", "Basic YWRtaW46YWRtaW4gcGFzc3dvcmQ=")

    private func json(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    /// A call of the operator's.
    private func call(_ world: World, _ method: HTTPMethod, _ nsid: String, _ body: String? = nil) throws -> (
        Int, String
    ) {
        var headers = [Self.admin]
        if body != nil { headers.append(("content-type", "application/json")) }
        let response = world.respond(
            try world.request(method, "/xrpc/\(nsid)", headers: headers, body: Array((body ?? "").utf8)))
        guard case .bytes(let bytes) = response.body else { return (response.status, "") }
        return (response.status, String(decoding: bytes, as: UTF8.self))
    }

    // MARK: The moderation service

    /// The moderation service, with a key for itself and one for labels.
    private struct Service {
        let key: SigningKey
        let labelKey: SigningKey

        init(_ world: World) throws {
            key = try SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 3, count: 32)))
            labelKey = try SigningKey(algorithm: .p256, secret: Secret([UInt8](repeating: 4, count: 32)))
            let did = World.moderation
            let document = """
                {"id":"\(did)","verificationMethod":[\
                {"id":"#atproto","type":"Multikey","controller":"\(did)",\
                "publicKeyMultibase":"\(key.publicKey.multibase)"},\
                {"id":"\(did)#atproto_label","type":"Multikey","controller":"\(did)",\
                "publicKeyMultibase":"\(labelKey.publicKey.multibase)"}],\
                "service":[{"id":"#atproto_labeler","type":"AtprotoLabeler","serviceEndpoint":"https://x.example.com"}]}
                """
            world.network.set {
                $0.pages["https://mod.example.com/.well-known/did.json"] = .init(status: 200, body: Bytes(document))
            }
        }

        func token(
            _ key: SigningKey? = nil, _ method: Bytes = "com.atproto.admin.getAccountInfo",
            _ changes: (inout JOSEObject) -> Void = { _ in }
        ) throws -> String {
            var claims: JOSEObject = [
                "iss": .text(World.moderation.bytes), "aud": "did:web:home.test", "lxm": .text(method),
                "exp": .integer(World.start.seconds + 60),
            ]
            changes(&claims)
            return try JWT.sign(header: ["typ": "JWT"], claims: claims, key: key ?? self.key).description
        }
    }

    @Test(arguments: Engine.all) func theModerationServiceMayAndOthersMayNot(_ engine: Engine) throws {
        let world = try World(engine)
        let service = try Service(world)
        let alice = try Resident(engine, world: world)
        let own = try world.app.keys.key(of: alice.did)
        let labeler = World.moderation.bytes + "#atproto_labeler"
        let target = "com.atproto.admin.getAccountInfo?did=\(alice.did)"
        let rows: [(name: String, token: String, wanted: String)] = [
            ("its own key", try service.token(), "200"),
            ("its key by name", try service.token { $0["iss"] = .text(World.moderation.bytes + "#atproto") }, "200"),
            ("as a labeler", try service.token(service.labelKey) { $0["iss"] = .text(labeler) }, "200"),
            ("as a labeler with the other key", try service.token { $0["iss"] = .text(labeler) }, "BadJwtSignature"),
            ("the labels' key for itself", try service.token(service.labelKey), "BadJwtSignature"),
            ("as another service", try service.token { $0["iss"] = "did:web:mod.example.com#x" }, "BadJwtIss"),
            ("another method", try service.token(nil, "com.atproto.admin.sendEmail"), "BadJwtLexiconMethod"),
            ("no method", try service.token { $0["lxm"] = nil }, "BadJwtLexiconMethod"),
            ("for another server", try service.token { $0["aud"] = "did:web:other.test" }, "BadJwtAudience"),
            ("expired", try service.token { $0["exp"] = .integer(World.start.seconds) }, "JwtExpired"),
            ("an hour", try service.token { $0["exp"] = .integer(World.start.seconds + 3_600) }, "200"),
            (
                "an hour and a slow clock", try service.token { $0["exp"] = .integer(World.start.seconds + 3_660) },
                "200"
            ),
            ("O033 a second more", try service.token { $0["exp"] = .integer(World.start.seconds + 3_661) }, "BadJwt"),
            ("O033 until tomorrow", try service.token { $0["exp"] = .integer(World.start.seconds + 86_400) }, "BadJwt"),
            ("O033 for ever", try service.token { $0["exp"] = .integer(.max) }, "BadJwt"),
            (
                "of an account here", try service.token(own) { $0["iss"] = .text(alice.did.bytes) }, "UntrustedIss"
            ),
            ("a session", alice.token, "InvalidToken"), ("nothing of ours", "a.b.c", "InvalidToken"),
        ]
        for row in rows {
            let answer = try world.call(.get, target, token: row.token)
            if row.wanted == "200" {
                #expect(answer.status == 200 && answer.body.contains("alice@example.com"), "\(row.name): \(answer)")
            } else {
                #expect(answer.status >= 400 && answer.body.contains("\"\(row.wanted)\""), "\(row.name): \(answer)")
            }
        }
        // What is the operator's alone.
        for method in ["deleteAccount", "updateAccountPassword", "updateAccountSigningKey", "updateAccountEmail"] {
            let token = try service.token(nil, Bytes("com.atproto.admin.\(method)"))
            let answer = try world.call(.post, "com.atproto.admin.\(method)", token: token, json: "{}")
            #expect(answer.status == 401 && answer.body.contains("AuthenticationRequired"), "\(method)")
        }
    }

    @Test(arguments: Engine.all) func everyActIsInTheLog(_ engine: Engine) throws {
        let world = try World(engine)
        let service = try Service(world)
        let alice = try Resident(engine, world: world)
        let did = alice.did
        func update(_ subject: String, _ change: String) throws {
            let method = "com.atproto.admin.updateSubjectStatus"
            let answer = try world.call(
                .post, method, token: try service.token(nil, Bytes(method)),
                json: "{\"subject\":{\(subject)},\(change)}")
            #expect(answer.status == 200, "\(answer.body)")
        }
        let repo = "\"$type\":\"com.atproto.admin.defs#repoRef\",\"did\":\"\(did)\""
        try update(repo, "\"takedown\":{\"applied\":true,\"ref\":\"case 7\"}")
        try update(repo, "\"takedown\":{\"applied\":false}")
        try update(repo, "\"deactivated\":{\"applied\":true}")
        try update(repo, "\"deactivated\":{\"applied\":false}")
        try update(
            "\"$type\":\"com.atproto.admin.defs#repoBlobRef\",\"did\":\"\(did)\",\"cid\":\"\(alice.blob)\"",
            "\"takedown\":{\"applied\":true}")
        let asked: [(String, String)] = [
            ("server.createInviteCode", "{\"useCount\":3,\"forAccount\":\"\(did)\"}"),
            ("admin.disableInviteCodes", "{\"accounts\":[\"\(did)\"]}"),
            ("admin.disableAccountInvites", "{\"account\":\"\(did)\",\"note\":\"why\"}"),
            ("admin.enableAccountInvites", "{\"account\":\"\(did)\"}"),
            ("admin.updateAccountHandle", "{\"did\":\"\(did)\",\"handle\":\"press.home.test\"}"),
            ("admin.updateAccountEmail", "{\"account\":\"\(did)\",\"email\":\"secret@example.com\"}"),
            ("admin.updateAccountPassword", "{\"did\":\"\(did)\",\"password\":\"secret word\"}"),
            ("temp.revokeAccountCredentials", "{\"account\":\"\(did)\"}"),
            ("temp.addReservedHandle", "{\"handle\":\"mayor\"}"),
            (
                "admin.sendEmail",
                """
                {"recipientDid":"\(did)","senderDid":"did:web:mod.example.com","subject":"Your post","content":"secret",\
                "comment":"the third time"}
                """
            ),
        ]
        for (method, body) in asked {
            let answer = try call(world, .post, "com.atproto.\(method)", body)
            #expect(answer.0 == 200, "\(method): \(answer.1)")
        }
        try world.app.administration.setSuspension(true, of: did, reason: "for a week", by: .tool)
        try world.app.administration.setSuspension(false, of: did, by: .tool)
        try world.app.administration.rotateKey(of: did, by: .tool)
        #expect(try call(world, .post, "com.atproto.admin.deleteAccount", "{\"did\":\"\(did)\"}").0 == 200)

        let log = AdminLog(database: world.test, clock: world.app.clock)
        let lines = try log.list(limit: 100).reversed().map { "\($0.actor) \($0.action)" }
        let moderation = "\(World.moderation)"
        #expect(
            lines == [
                "\(moderation) takedown", "\(moderation) lift-takedown", "\(moderation) deactivate",
                "\(moderation) activate", "\(moderation) takedown", "admin create-invites", "admin disable-invites",
                "admin forbid-invites", "admin allow-invites", "admin set-handle", "admin set-email",
                "admin set-password", "admin revoke-credentials", "admin reserve-handle", "admin send-mail",
                "tool suspend", "tool unsuspend", "tool rotate-key", "admin delete",
            ])
        let details = try log.list(limit: 100).compactMap(\.detail).map(\.description).joined(separator: "\n")
        #expect(details.contains("case 7") && details.contains("for a week") && details.contains("why"))
        #expect(details.contains("did:web:mod.example.com: Your post (the third time)"))
        #expect(!details.contains("secret"))
    }

    /// What fails is not in the log as done.
    @Test func whatIsRefusedIsNotInTheLog() throws {
        let world = try World(.sqlite)
        let alice = try Resident(.sqlite, world: world)
        for (method, body) in [
            ("admin.updateAccountHandle", "{\"did\":\"\(alice.did)\",\"handle\":\"a.b.home.test\"}"),
            ("admin.updateAccountEmail", "{\"account\":\"\(alice.did)\",\"email\":\"none\"}"),
            ("admin.deleteAccount", "{\"did\":\"did:web:nobody.example.com\"}"),
            ("admin.updateAccountSigningKey", "{\"did\":\"\(alice.did)\",\"signingKey\":\"did:web:x.example.com\"}"),
        ] { #expect(try call(world, .post, "com.atproto.\(method)", body).0 == 400, "\(method)") }
        #expect(try AdminLog(database: world.test, clock: world.app.clock).list(limit: 10).isEmpty)
    }

    // MARK: Messages

    private func message(to did: DID, _ more: String = "") -> String {
        "{\"recipientDid\":\"\(did)\",\"senderDid\":\"\(World.moderation)\",\"content\":\"Be kind.\"\(more)}"
    }

    /// What waits for the mail server, oldest first: receiver, subject, text and markup.
    private func mails(_ world: World) throws -> [(to: String, subject: String, text: String, html: String)] {
        var mails: [(to: String, subject: String, text: String, html: String)] = []
        while let mail = try world.app.mail.queue.claim(now: world.app.clock.now()) {
            mails.append(
                (
                    mail.recipient.bytes.description, mail.text.subject.bytes.description, mail.text.text.description,
                    mail.text.html.description
                ))
        }
        return mails
    }

    @Test(arguments: Engine.all) func messagesAreQueued(_ engine: Engine) throws {
        let world = try World(engine)
        let service = try Service(world)
        let alice = try Resident(engine, world: world)
        let method = "com.atproto.admin.sendEmail"
        let token = try service.token(nil, Bytes(method))
        // Both stay: neither says what the other says. Her state does not matter.
        let first = try world.call(.post, method, token: token, json: message(to: alice.did))
        #expect(first.status == 200 && first.body == #"{"sent":true}"#, "\(first)")
        world.advance(1)
        try world.app.life.setTakedown(true, of: alice.did)
        let markup = #","subject":"Ihr Beitrag ü","comment":"c""#
        let body = message(to: alice.did, markup).replacingOccurrences(
            of: "Be kind.", with: "<p>Be <b>kind</b> &amp; <a href='https://example.com/rules'>read</a>.</p><p>Bye</p>")
        #expect(try world.call(.post, method, token: token, json: body).status == 200)
        let mails = try mails(world)
        #expect(mails.map(\.to) == ["alice@example.com", "alice@example.com"])
        #expect(mails.map(\.subject) == ["A message from the moderators of home.test", "Ihr Beitrag ü"])
        #expect(mails.map(\.text) == ["Be kind.\n", "Be kind & read (https://example.com/rules).\n\nBye\n"])
        #expect(mails.map(\.html).allSatisfy { $0.contains("kind") && !$0.contains("&lt;") })
        let log = try AdminLog(database: world.test, clock: world.app.clock).list(limit: 10)
        #expect(
            log.map { "\($0.actor) \($0.action) \($0.subject)" } == [
                "\(World.moderation) send-mail \(alice.did)", "\(World.moderation) send-mail \(alice.did)",
            ])
        #expect(!log.contains { "\($0.detail ?? "")".contains("@") }, "no address")
    }

    struct Unsent: Sendable {
        let name: String
        var to = "did:plc:aghlr2ro24yh4z5dl5ddlmdv"
        var more = ""
        var sendsMail = true
        var hasEmail = true
        let status: Int
        let words: String
    }

    static let unsent: [Unsent] = [
        Unsent(name: "no mail server", sendsMail: false, status: 501, words: "SKYSTEAD_SMTP_URL is not set"),
        Unsent(name: "nobody", to: "did:web:nobody.example.com", status: 400, words: "Recipient not found"),
        Unsent(name: "no DID", to: "alice.home.test", status: 400, words: "Input/recipientDid must be a valid did"),
        Unsent(name: "no address", hasEmail: false, status: 400, words: "account does not have an email address"),
        Unsent(
            name: "a header in the subject", more: #","subject":"a\r\nBcc: x@example.com""#, status: 400,
            words: "Input/subject must be one line of text"),
        Unsent(
            name: "a long subject", more: ",\"subject\":\"\(String(repeating: "x", count: 501))\"", status: 400,
            words: "Input/subject must not be longer than 500 bytes"),
        Unsent(
            name: "a long comment", more: ",\"comment\":\"\(String(repeating: "x", count: 2_001))\"", status: 400,
            words: "Input/comment must not be longer than 2000 bytes"),
        Unsent(name: "NUL in the comment", more: #","comment":"\u0000""#, status: 400, words: "must not contain NUL"),
        Unsent(
            name: "a long message", more: ",\"content\":\"\(String(repeating: "x", count: 65_537))\"", status: 400,
            words: "Input/content must not be longer than 65536 bytes"),
    ]

    @Test(arguments: unsent) func messagesThatAreRefused(_ row: Unsent) throws {
        let world = try World(.sqlite, sendsMail: row.sendsMail)
        let alice = try Resident(.sqlite, world: world)
        if !row.hasEmail { try world.test.execute("UPDATE account SET email = NULL") }
        let to = row.to == "did:plc:aghlr2ro24yh4z5dl5ddlmdv" ? alice.did.bytes.description : row.to
        var body = "{\"recipientDid\":\"\(to)\",\"senderDid\":\"\(World.moderation)\"\(row.more)"
        if !row.more.contains("content") { body += ",\"content\":\"x\"" }
        let answer = try call(world, .post, "com.atproto.admin.sendEmail", body + "}")
        #expect(answer.0 == row.status && answer.1.contains(row.words), "\(answer)")
        #expect(try mails(world).isEmpty)
        #expect(try AdminLog(database: world.test, clock: world.app.clock).list(limit: 10).isEmpty)
    }

    @Test(arguments: Engine.all) func aMessageAndItsLineAreOneTransaction(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try Resident(engine, world: world)
        try world.test.execute("ALTER TABLE admin_action RENAME TO elsewhere")
        #expect(try call(world, .post, "com.atproto.admin.sendEmail", message(to: alice.did)).0 == 500)
        #expect(try mails(world).isEmpty)
    }

    // MARK: Keys

    @Test(arguments: Engine.all) func anotherSigningKey(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try Resident(engine, world: world)
        let old = try world.app.keys.key(of: alice.did).publicKey
        let before = try world.app.repos.state(of: alice.did)
        let start = try alice.lastSeq()
        let reserved = try json(
            try world.call(.post, "com.atproto.server.reserveSigningKey", json: "{\"did\":\"\(alice.did)\"}").body)
        let text = try #require(reserved["signingKey"] as? String)
        let body = "{\"did\":\"\(alice.did)\",\"signingKey\":\"\(text)\"}"

        // The directory does not answer: nothing has changed here, and the same call works later.
        world.network.set { $0.isDown = true }
        #expect(try call(world, .post, "com.atproto.admin.updateAccountSigningKey", body).0 == 502)
        #expect(try world.app.keys.key(of: alice.did).publicKey == old)
        #expect(try alice.lastSeq() == start)
        world.network.set { $0.isDown = false }
        #expect(try call(world, .post, "com.atproto.admin.updateAccountSigningKey", body).0 == 200)

        let key = try world.app.keys.key(of: alice.did).publicKey
        #expect(key.didKey == Bytes(text) && key != old)
        #expect(try alice.events(after: start) == ["identity", "commit", "sync"])
        let after = try world.app.repos.state(of: alice.did)
        #expect(after.rev > before.rev && after.data == before.data)
        #expect(try world.app.repos.verify(alice.did, key: key).problems == [])
        let named = world.network.state.withLock { PLCOperation($0.log[alice.did.bytes]!.last!) }
        #expect(named?.verificationMethods.map(\.didKey) == [Bytes(text)])
        #expect(named?.alsoKnownAs == ["at://alice.home.test"])
        #expect(try world.app.keys.reserved(for: alice.did) == nil)
        // She goes on with it.
        let write = try world.call(
            .post, "com.atproto.repo.createRecord", token: alice.token,
            json: "{\"repo\":\"\(alice.did)\",\"collection\":\"com.example.thing\",\"record\":{\"a\":1}}")
        #expect(write.status == 200)
        #expect(try world.app.repos.verify(alice.did, key: key).problems == [])
        // Once more: the key is used up, and one made here is as good.
        #expect(try call(world, .post, "com.atproto.admin.updateAccountSigningKey", body).0 == 400)
        let third = try world.app.administration.rotateKey(of: alice.did, by: .tool)
        #expect(try world.app.repos.verify(alice.did, key: third).problems == [])
    }

    /// What others have changed in an identity is found, and mended without touching what is theirs.
    @Test(arguments: Engine.all) func anIdentityIsRepaired(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try Resident(engine, world: world)
        let account = try #require(try world.app.accounts.find(alice.did))
        let own = try SigningKey(algorithm: .k256, secret: World.rotationKey)
        let stranger = try SigningKey(algorithm: .p256, secret: Secret([UInt8](repeating: 6, count: 32)))
        let directory = PLCDirectory(url: FakeNetwork.directory, network: world.network.network)
        func change(_ body: (inout PLCOperation) -> Void) throws {
            try directory.update(alice.did, signedBy: own, body)
        }
        func faults() throws -> [HostingError.OperationFault] {
            try world.app.life.inspectIdentity(of: account).faults
        }
        #expect(try faults() == [])
        let good = try world.app.life.inspectIdentity(of: account).operation
        let label = PLCOperation.Service(id: "atproto_labeler", type: "AtprotoLabeler", endpoint: "https://l.example")
        let rows: [(name: String, faults: [HostingError.OperationFault], change: (inout PLCOperation) -> Void)] = [
            ("another server", [.serviceEndpoint], { $0.services[0].endpoint = "https://old.example" }),
            ("another kind of service", [.serviceType], { $0.services[0].type = "Other" }),
            ("no service", [.serviceType, .serviceEndpoint], { $0.services = [label] }),
            ("another key", [.signingKey], { $0.setSigningKey(stranger.publicKey) }),
            ("no key", [.signingKey], { $0.verificationMethods = [] }),
            ("another handle", [.handle], { $0.alsoKnownAs = ["at://other.example", "https://alice.example"] }),
            ("another handle first", [.handle], { $0.alsoKnownAs.insert("at://other.example", at: 0) }),
            ("no handle", [.handle], { $0.alsoKnownAs = [] }),
            (
                "everything", [.serviceType, .serviceEndpoint, .signingKey, .handle],
                {
                    $0.services = []
                    $0.verificationMethods = []
                    $0.alsoKnownAs = []
                }
            ),
        ]
        for row in rows {
            try change(row.change)
            #expect(try faults() == row.faults, "\(row.name)")
            let start = try alice.lastSeq()
            try world.app.administration.repairIdentity(of: alice.did, by: .tool)
            #expect(try faults() == [], "\(row.name)")
            #expect(try alice.events(after: start) == ["identity"], "\(row.name)")
            #expect(try world.app.life.inspectIdentity(of: account).operation.rotationKeys == good.rotationKeys)
        }
        #expect(try world.app.life.inspectIdentity(of: account).operation.alsoKnownAs == ["at://alice.home.test"])
        // What is beside it stays; what this server may not change it leaves alone.
        try change { $0.services.append(label) }
        try change { $0.setSigningKey(stranger.publicKey) }
        try world.app.administration.repairIdentity(of: alice.did, by: .tool)
        #expect(try world.app.life.inspectIdentity(of: account).operation.services.contains(label))
        let count = world.network.state.withLock { $0.log[alice.did.bytes]?.count }
        try change { $0.rotationKeys = [stranger.publicKey.didKey] }
        #expect(try faults() == [.rotationKey])
        #expect(throws: HostingError.unfitOperation(.rotationKey)) {
            try world.app.administration.repairIdentity(of: alice.did, by: .tool)
        }
        #expect(world.network.state.withLock { $0.log[alice.did.bytes]?.count } == count.map { $0 + 1 })
        let acts = try AdminLog(database: world.test, clock: world.app.clock).list(subject: alice.did.bytes, limit: 100)
        #expect(acts.filter { $0.action == "repair-identity" }.count == rows.count + 1)
    }

    @Test func aKeyThatTheDirectoryTookIsTakenUpAgain() throws {
        let world = try World(.sqlite)
        let alice = try Resident(.sqlite, world: world)
        // As if the database had failed after the directory was told.
        world.network.set { $0.refuses = true }
        #expect(throws: IdentityError.self) { try world.app.administration.rotateKey(of: alice.did, by: .tool) }
        let kept = try #require(try world.app.keys.reserved(for: alice.did)).publicKey
        world.network.set { $0.refuses = false }
        #expect(try world.app.administration.rotateKey(of: alice.did, by: .tool) == kept)
    }

    @Test func identitiesThatNoDirectoryHas() throws {
        let world = try World(.sqlite)
        // Served here: the document changes with the row.
        let json = """
            {"handle":"alice.home.test","email":"a@example.com","password":"correct horse","did":"did:web:alice.home.test"}
            """
        #expect(try world.call(.post, "com.atproto.server.createAccount", json: json).status == 200)
        let alice = DID("did:web:alice.home.test")!
        let requests = world.network.state.withLock { $0.requests.count }
        let key = try world.app.administration.rotateKey(of: alice, by: .tool)
        #expect(world.network.state.withLock { $0.requests.count } == requests)
        let document = try world.call(.get, "com.atproto.identity.resolveDid?did=\(alice)").body
        #expect(document.contains("\(key.multibase)"))

        // Of elsewhere: its owner puts the key into the document first.
        let mover = DID("did:web:mover.example.com")!
        let mine = try SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 8, count: 32)))
        try world.test.write { writer in
            let new = AccountStore.New(
                did: mover, handle: Handle("mover.home.test")!, email: nil, password: "x", createdAt: World.start)
            try AccountStore.insert(new, in: writer)
            let sealed = try world.app.keys.seal(mine, for: mover)
            try KeyStore.insert(mine.publicKey, sealed: sealed, of: mover, in: writer)
            try world.app.repos.create(mover, key: mine, in: writer)
        }
        let next = try world.app.keys.reserve(for: mover, now: World.start)
        func publish(_ key: VerificationKey) {
            let document = DIDDocument.json(of: mover, handle: nil, signingKey: key, pds: "https://home.test")
            world.network.set {
                $0.pages["https://mover.example.com/.well-known/did.json"] = .init(status: 200, body: document)
            }
        }
        publish(mine.publicKey)
        #expect(throws: HostingError.notPointedHere(.signingKey)) {
            try world.app.administration.rotateKey(of: mover, to: next.didKey, by: .tool)
        }
        #expect(try world.app.keys.key(of: mover).publicKey == mine.publicKey)
        publish(next)
        try world.app.administration.rotateKey(of: mover, to: next.didKey, by: .tool)
        #expect(try world.app.repos.verify(mover, key: next).problems == [])
    }

    @Test func aHiddenAccountsKeyIsChangedInSilence() throws {
        let world = try World(.sqlite)
        let alice = try Resident(.sqlite, world: world)
        try alice.put(into: .takendown)
        let start = try alice.lastSeq()
        let key = try world.app.administration.rotateKey(of: alice.did, by: .tool)
        #expect(try alice.events(after: start) == ["identity"])
        #expect(try world.app.repos.verify(alice.did, key: key).problems == [])
    }

    // MARK: Reports

    private static let reportURL: Bytes = "https://mod.example.com/xrpc/com.atproto.moderation.createReport"

    private func report(
        _ world: World, by resident: Resident, proxy: String? = nil, reason: String = "rude"
    ) throws -> (Int, String) {
        let body = """
            {"reasonType":"com.atproto.moderation.defs#reasonRude","reason":"\(reason)",\
            "subject":{"$type":"com.atproto.admin.defs#repoRef","did":"did:web:troll.example.com"}}
            """
        var headers = [("authorization", "Bearer \(resident.token)"), ("content-type", "application/json")]
        if let proxy { headers.append(("atproto-proxy", proxy)) }
        let response = world.respond(
            try world.request(
                .post, "/xrpc/com.atproto.moderation.createReport", headers: headers, body: Array(body.utf8)))
        guard case .bytes(let bytes) = response.body else { return (response.status, "") }
        return (response.status, String(decoding: bytes, as: UTF8.self))
    }

    @Test(arguments: Engine.all) func aReportIsKeptAndPassedOn(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try Resident(engine, world: world)
        world.network.set { $0.answers[Self.reportURL] = 200 }
        #expect(try report(world, by: alice).0 == 200)
        let kept = try #require(try world.app.reports.reports.list(.open, limit: 10).first)
        #expect(kept.reportedBy == alice.did && kept.reason == "rude" && kept.forwardedAt != nil)
        let sent = try #require(world.network.state.withLock { $0.sent.first })
        let header = try #require(sent.headers.first { $0.name == "Authorization" }?.value)
        let token = try JWT(parsing: header.from(7))
        try token.verify(try world.app.keys.key(of: alice.did).publicKey)
        #expect(token.claims.text("iss") == alice.did.bytes && token.claims.text("aud") == World.moderation.bytes)
        #expect(token.claims.text("lxm") == "com.atproto.moderation.createReport")
        #expect(
            sent.body == """
                {"reasonType":"com.atproto.moderation.defs#reasonRude","reason":"rude",\
                "subject":{"$type":"com.atproto.admin.defs#repoRef","did":"did:web:troll.example.com"}}
                """)
        #expect(sent.deadlineMilliseconds <= 5_000)
    }

    @Test(
        arguments: [
            (nil, true), (500, true), (429, true), (408, true), (400, false), (401, false), (301, true),
        ] as [(Int?, Bool)]) func aReportThatDoesNotArriveIsKept(_ status: Int?, _ isTriedAgain: Bool) throws
    {
        let world = try World(.sqlite)
        let alice = try Resident(.sqlite, world: world)
        world.network.set { $0.answers[Self.reportURL] = status }
        #expect(try report(world, by: alice).0 == 200, "the person has reported")
        #expect(try world.app.reports.reports.list(.open, limit: 10).count == 1)
        #expect(try world.app.reports.forwardDue(limit: 10) == 0, "not at once again")
        world.network.set { $0.answers[Self.reportURL] = 200 }
        world.advance(3_600)
        #expect(try world.app.reports.forwardDue(limit: 10) == (isTriedAgain ? 1 : 0))
        world.advance(3_600)
        #expect(try world.app.reports.forwardDue(limit: 10) == 0)
        let line = world.log.withLock { $0.joined(separator: "\n") }
        #expect(line.contains("report=1") && !line.contains("rude"))
    }

    @Test func aReportNamesItsLabeler() throws {
        let world = try World(.sqlite)
        let alice = try Resident(.sqlite, world: world)
        let document = """
            {"id":"did:web:labels.example.com","service":[\
            {"id":"#atproto_labeler","type":"AtprotoLabeler","serviceEndpoint":"https://labels.example.net"},\
            {"id":"#local","type":"AtprotoLabeler","serviceEndpoint":"https://labels.example.net/path"}]}
            """
        let url: Bytes = "https://labels.example.net/xrpc/com.atproto.moderation.createReport"
        world.network.set {
            $0.pages["https://labels.example.com/.well-known/did.json"] = .init(status: 200, body: Bytes(document))
            $0.answers[url] = 200
        }
        let rows: [(proxy: String, status: Int, arrives: Bool)] = [
            ("did:web:labels.example.com#atproto_labeler", 200, true),
            ("did:web:labels.example.com#other", 200, false), ("did:web:labels.example.com#local", 200, false),
            ("did:web:nowhere.example.com#atproto_labeler", 200, false), ("did:web:labels.example.com", 400, false),
            ("did:web:labels.example.com#", 400, false), ("labels.example.com#x", 400, false),
            ("did:web:labels.example.com#a b", 400, false),
        ]
        for row in rows {
            let count = try world.app.reports.reports.list(.all, limit: 100).count
            let answer = try report(world, by: alice, proxy: row.proxy)
            #expect(answer.0 == row.status, "\(row.proxy): \(answer.1)")
            let kept = try world.app.reports.reports.list(.all, limit: 100)
            #expect(kept.count == count + (row.status == 200 ? 1 : 0), "\(row.proxy)")
            if row.status == 200 { #expect((kept.first?.forwardedAt != nil) == row.arrives, "\(row.proxy)") }
        }
    }

    @Test func reportsAreCounted() throws {
        let world = try World(.sqlite, limits: true)
        let alice = try Resident(.sqlite, world: world)
        let statuses = try (0..<31).map { _ in try report(world, by: alice).0 }
        #expect(statuses.prefix(30).allSatisfy { $0 == 200 } && statuses.last == 429)
        #expect(try world.app.reports.reports.list(.all, limit: 100).count == 30)
    }
}
