import Base
import Crypto
import Foundation
import Testing

@Suite struct PasswordTests {
    /// Made by Python's `hashlib.scrypt` over the hex text of the salt, as Node's `crypto.scrypt` gets it.
    static let stored: Bytes =
        "000102030405060708090a0b0c0d0e0f:"
        + "2d05cd998694307d09324d39091e7dc45d610b22758eed53785ff73504645754"
        + "93564fea574b76976b7c97ba84a602b4c3cabfc988f8a9dec764aaf978f40d72"

    @Test func hashesInTheReferencesForm() throws {
        let salt = (0..<16).map { UInt8($0) }
        #expect(try Password.hash("correct horse battery staple", salt: salt, entropy: .system) == Self.stored)
        #expect(try Password.verify("correct horse battery staple", against: Self.stored))
        #expect(try !Password.verify("correct horse battery stapl", against: Self.stored))
        #expect(try !Password.verify("", against: Self.stored))
    }

    @Test func saltsDiffer() throws {
        let first = try Password.hash("", entropy: .system)
        let second = try Password.hash("", entropy: .system)
        #expect(first != second)
        #expect(first.count == 32 + 1 + 128)
        #expect(try Password.verify("", against: first))
    }

    @Test func passwordsAreNotCutAtNUL() throws {
        let stored = try Password.hash("a\0b", entropy: .system)
        #expect(try Password.verify("a\0b", against: stored))
        #expect(try !Password.verify("a", against: stored))
        #expect(try !Password.verify("a\0c", against: stored))
    }

    static let wrongForms: [(name: String, stored: Bytes)] = [
        ("empty", ""), ("no colon", "00ff"), ("no salt", ":" + stored.from(33)), ("no hash", "00:"),
        ("short hash", stored.upTo(160)), ("not hex", stored.upTo(160) + "g"), ("three parts", stored + ":00"),
        ("a bcrypt hash", "$2b$12$abcdefghijklmnopqrstuv"),
    ]

    @Test(arguments: wrongForms) func wrongFormsAreRefused(name: String, stored: Bytes) {
        #expect(throws: CryptoError.invalidPasswordHash) { try Password.verify("x", against: stored) }
    }

    @Test func withoutEntropyNothingIsHashed() {
        let broken = Entropy { _ throws(EntropyError) in throw EntropyError(errno: 5) }
        #expect(throws: EntropyError.self) { try Password.hash("x", entropy: broken) }
        #expect(throws: EntropyError.self) { try SigningKey.generate(.k256, entropy: broken) }
    }
}

@Suite struct SealerTests {
    let key = Secret([UInt8](repeating: 7, count: 32))

    private func bytes(_ secret: Secret) -> [UInt8] { secret.withBytes { $0 } }

    @Test(arguments: [0, 1, 15, 16, 17, 32, 1000]) func whatIsSealedOpens(count: Int) throws {
        let sealer = try Sealer(key: key)
        let plain = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        let sealed = try sealer.seal(Secret(plain), context: "did:plc:x signing key", entropy: .system)
        #expect(sealed.count == count + Sealer.overhead)
        #expect(try bytes(sealer.open(Bytes(sealed), context: "did:plc:x signing key")) == plain)
        #expect(try sealer.seal(Secret(plain), context: "", entropy: .system) != sealed)
    }

    @Test func whateverWasChangedDoesNotOpen() throws {
        let sealer = try Sealer(key: key)
        let sealed = try sealer.seal(Secret([1, 2, 3]), context: "here", entropy: .system)
        for position in sealed.indices {
            var changed = sealed
            changed[position] ^= 1
            #expect(throws: CryptoError.notAuthentic, "byte \(position)") {
                try sealer.open(Bytes(changed), context: "here")
            }
            #expect(throws: CryptoError.notAuthentic, "cut to \(position)") {
                try sealer.open(Bytes(Array(sealed[..<position])), context: "here")
            }
        }
        #expect(throws: CryptoError.notAuthentic) { try sealer.open(Bytes(sealed), context: "there") }
        #expect(throws: CryptoError.notAuthentic) { try sealer.open(Bytes(sealed), context: "") }
        #expect(throws: CryptoError.notAuthentic) { try sealer.open(Bytes(sealed + [0]), context: "here") }
        let other = try Sealer(key: Secret([UInt8](repeating: 8, count: 32)))
        #expect(throws: CryptoError.notAuthentic) { try other.open(Bytes(sealed), context: "here") }
    }

    @Test(arguments: [0, 16, 31, 33]) func keysHave32Bytes(count: Int) {
        #expect(throws: CryptoError.invalidSymmetricKey) {
            try Sealer(key: Secret([UInt8](repeating: 0, count: count)))
        }
    }
}

@Suite struct KeyFileTests {
    /// A directory of its own for `body`, taken away afterwards.
    private func withDirectory(_ body: (String) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "keyfile-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory.path())
    }

    private func bytes(_ secret: Secret) -> [UInt8] { secret.withBytes { $0 } }

    @Test func isMadeOnceAndForItsOwnerOnly() throws {
        try withDirectory { directory in
            let path = directory + "/master.key"
            #expect(try KeyFile.load(path) == nil)
            let first = bytes(try KeyFile.loadOrCreate(path, entropy: .system))
            #expect(first.count == 32)
            #expect(Set(first).count > 4)
            #expect(try bytes(KeyFile.loadOrCreate(path, entropy: .system)) == first)
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["master.key"])
        }
    }

    @Test func allWhoComeAtOnceGetTheSameKey() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "keyfile-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.path() + "/master.key"
        let keys = try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for _ in 0..<32 { group.addTask { bytes(try KeyFile.loadOrCreate(path, entropy: .system)) } }
            return try await group.reduce(into: Set<[UInt8]>()) { $0.insert($1) }
        }
        #expect(keys.count == 1)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path()) == ["master.key"])
    }

    @Test func refusesWhatIsNoPrivateFileOf32Bytes() throws {
        let whole = Data(repeating: 1, count: 32)
        let rows: [(name: String, content: Data, mode: Int, refusal: KeyFile.Refusal?)] = [
            ("right", whole, 0o600, nil), ("read only", whole, 0o400, nil),
            ("group may read", whole, 0o640, .openToOthers(mode: 0o640)),
            ("others may read", whole, 0o604, .openToOthers(mode: 0o604)),
            ("group may write", whole, 0o620, .openToOthers(mode: 0o620)),
            ("empty", Data(), 0o600, .wrongSize(0)), ("short", whole.dropLast(), 0o600, .wrongSize(31)),
            ("hex with a newline", Data(repeating: 0x61, count: 65), 0o600, .wrongSize(65)),
        ]
        try withDirectory { directory in
            for (index, row) in rows.enumerated() {
                let path = "\(directory)/\(index)"
                #expect(
                    FileManager.default.createFile(
                        atPath: path, contents: row.content, attributes: [.posixPermissions: row.mode]))
                if let refusal = row.refusal {
                    #expect(throws: refusal, "\(row.name)") { try KeyFile.loadOrCreate(path, entropy: .system) }
                } else {
                    let loaded = bytes(try KeyFile.loadOrCreate(path, entropy: .system))
                    #expect(loaded == [UInt8](row.content), "\(row.name)")
                }
            }
        }
    }

    @Test func refusesLinksAndDirectories() throws {
        try withDirectory { directory in
            _ = try KeyFile.loadOrCreate(directory + "/real", entropy: .system)
            try FileManager.default.createSymbolicLink(
                atPath: directory + "/link", withDestinationPath: directory + "/real")
            #expect(throws: KeyFile.Refusal.notAFile) { try KeyFile.load(directory + "/link") }
            #expect(throws: KeyFile.Refusal.notAFile) { try KeyFile.load(directory) }
            #expect(throws: SystemError.self) {
                try KeyFile.loadOrCreate(directory + "/missing/key", entropy: .system)
            }
        }
    }
}
