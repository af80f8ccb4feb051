internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Crypto
internal import Hosting
internal import Identity
internal import Moderation
internal import Repos
internal import Storage

extension Command {
    static let accountCreate = Command(
        "account create", arguments: ["HANDLE"],
        options: [
            Option(name: "email", value: "ADDRESS", help: "the account's e-mail address; needed"),
            Option(name: "password-file", value: "FILE", help: "read the password from there; - is standard input"),
        ],
        summary: "makes an account; without --password-file it makes up a password and prints it"
    ) { invocation in
        guard let handle = Handle(invocation.arguments[0]) else {
            throw ToolError.usage("'\(invocation.arguments[0])' is not a handle", command: "account create")
        }
        guard let email = invocation.value("email") else {
            throw ToolError.usage("an account needs --email", command: "account create")
        }
        let given = try invocation.value("password-file").map { try AccountTool.password(from: $0) }
        let password = try given ?? AccountTool.newPassword(.system)
        let service = try AccountTool.service()
        let account = try AccountTool.create(handle, email: Bytes(email), password: password, service)
        invocation.output.line("\(account.did)  \(account.shownHandle)")
        if given == nil { invocation.output.line("password: \(password)") }
        return 0
    }

    static let accountInfo = Command(
        "account info", arguments: ["HANDLE-OR-DID"], summary: "prints what is known of one account"
    ) { invocation in
        let service = try AccountTool.service()
        let account = try AccountTool.account(invocation.arguments[0], service, command: "account info")
        let output = invocation.output
        output.fact("did", "\(account.did)")
        output.fact("handle", "\(account.shownHandle)")
        output.fact(
            "email",
            "\(account.email?.description ?? "none")\(account.emailConfirmedAt == nil ? "" : ", confirmed")")
        output.fact("state", account.state.rawValue)
        output.fact("created", account.createdAt.iso8601)
        for (name, moment) in try AccountTool.moments(account.did, service) { output.fact(name, moment.iso8601) }
        let repository = try service.repos.state(of: account.did)
        output.fact("commit", "\(repository.rev)  \(repository.commit)")
        output.fact("signing key", "\(try service.keys.key(of: account.did).publicKey.didKey)")
        let use = try service.repos.storageUse(of: account.did)
        let isAbove = service.quota.soft.map { use.bytes > $0 } ?? false
        let bound = service.quota.hard.map { " of \(ByteCount.words($0))" } ?? ""
        output.fact("storage", "\(ByteCount.words(use.bytes))\(bound)\(isAbove ? ", above the soft quota" : "")")
        output.fact("  blobs", "\(ByteCount.words(use.blobBytes)) in \(use.blobCount)")
        output.fact("  records", ByteCount.words(use.recordBytes))
        for collection in use.collections {
            output.line("    \(collection.name)  \(ByteCount.words(collection.bytes)) in \(collection.count)")
        }
        return 0
    }
}

/// What the account commands share.
enum AccountTool {
    static let pageSize = 500
    /// The longest file that a password is read from.
    static let passwordFileSizeMax = 4_096

    /// The domains, or a `ToolError` that says what is missing.
    static func service() throws -> Service {
        let settings = try ToolSettings.load()
        do {
            return try Service(settings, log: .silent)
        } catch let error as Keys.Missing {
            throw ToolError(error.description, remedy: "skystead migrate")
        } catch StorageError.schemaVersion(let found, let wanted) {
            throw ToolError(
                "the database's schema is version \(found), this program wants \(wanted)", remedy: "skystead migrate")
        }
    }

    /// The account that `text` names. Throws `ToolError`.
    static func account(_ text: String, _ service: Service, command: String) throws -> Account {
        guard let identifier = ATIdentifier(Bytes(text)) else {
            throw ToolError.usage("'\(text)' is neither a handle nor a DID", command: command)
        }
        guard let account = try service.accounts.find(identifier) else {
            throw ToolError("there is no account '\(text)' here", remedy: "skystead account list")
        }
        return account
    }

    /// When what is not usual about an account began, for `account info`.
    static func moments(_ did: DID, _ service: Service) throws -> [(String, Timestamp)] {
        guard let details = try service.accounts.details(of: did) else { return [] }
        let all = [
            ("deactivated", details.deactivatedAt), ("delete after", details.account.deleteAfter),
            ("suspended", details.suspendedAt), ("taken down", details.takenDownAt),
        ]
        return all.compactMap { name, moment in moment.map { (name, $0) } }
    }

    /// Runs `body`; what it says about accounts, names and the network becomes a sentence with a remedy.
    static func explained<Result>(_ service: Service, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as AccountError {
            throw ToolError(sentence(error))
        } catch let error as HandleError {
            throw ToolError("that handle cannot be taken: \(error)", remedy: endings(service))
        } catch HostingError.handleElsewhere(let handle) {
            throw ToolError(
                "'\(handle)' does not name this account",
                remedy: "set its TXT record _atproto.\(handle) to did=DID, or give a handle of this server")
        } catch HostingError.unknownKey {
            throw ToolError("this server has not reserved that key for the account")
        } catch HostingError.notPointedHere {
            throw ToolError(
                "the account's DID document does not name this server and its key",
                remedy: "change the document first; `skystead account info` shows the key")
        } catch HostingError.unfitOperation(.rotationKey) {
            throw ToolError(
                "this server's rotation key is not in the identity any more, so that it can't change it",
                remedy: "whoever holds one of its rotation keys can; `skystead plc show` has them")
        } catch IdentityError.unsupportedDID(let did) {
            throw ToolError("no directory has \(did)", remedy: "its document is on its own host: skystead doctor")
        } catch IdentityError.tombstoned(let did) {
            throw ToolError("\(did) was given up: the directory has a tombstone for it")
        } catch let error as IdentityError {
            throw ToolError(
                "the identity could not be changed: \(error)", remedy: "look at SKYSTEAD_PLC_URL: skystead check")
        } catch RepoError.recordNotFound(let path) {
            throw ToolError("there is no record \(path)", remedy: "give it as at://DID/COLLECTION/KEY")
        } catch RepoError.blobNotFound(let cid) {
            throw ToolError("the account has no blob \(cid)", remedy: "its records name their blobs by CID")
        } catch RepoError.repoNotFound(let did) {
            throw ToolError("there is no account \(did) here", remedy: "skystead account list")
        } catch ModerationError.reportNotFound(let id) {
            throw ToolError("there is no report \(id)", remedy: "skystead report list --all")
        }
    }

    private static func endings(_ service: Service) -> String {
        "handles here end in .\(service.names.handleDomains.map(\.description).joined(separator: " or ."))"
    }

    /// Makes the account as createAccount does. The operator needs no invite code: one is made and used.
    static func create(_ handle: Handle, email: Bytes, password: Bytes, _ service: Service) throws -> Account {
        var request = AccountRequest(handle: handle, email: email, password: password)
        if service.settings[Settings.inviteRequired] {
            let made = try service.invites.create(
                count: 1, usesMax: 1, for: ["admin"], by: "admin", now: Clock.system.now())
            request.inviteCode = made.first?.codes.first
        }
        return try explained(service) {
            do {
                return try service.administration.createAccount(request, by: .tool)
            } catch HostingError.unsupportedDomain {
                throw ToolError("'\(handle)' is not under a domain of this server", remedy: endings(service))
            }
        }
    }

    private static func sentence(_ error: AccountError) -> String {
        switch error {
        case .handleTaken(let handle): "the handle '\(handle)' is taken"
        case .emailTaken(let email): "the e-mail address '\(email)' is taken"
        case .exists(let did): "\(did) has an account here"
        case .notFound: "there is no such account"
        case .invalidEmail: "that is not an e-mail address"
        case .passwordTooLong: "the password is longer than \(AccountStore.passwordSizeMax) bytes"
        case .passwordTooShort: "the password is shorter than \(AccountStore.passwordSizeMin) bytes"
        case .passwordHasNUL: "the password has a NUL byte"
        }
    }

    /// 24 characters of base 32: 120 bits.
    static func newPassword(_ entropy: Entropy) throws -> Bytes {
        Bytes(RadixEncoding.base32.encode(try entropy.bytes(15)))
    }

    /// The first line of `path`, or of standard input.
    static func password(from path: String) throws -> Bytes {
        let bytes = Bytes(try Files.read(path == "-" ? "/dev/stdin" : path, sizeMax: passwordFileSizeMax))
        let line = bytes.upTo(bytes.position(of: 0x0A) ?? bytes.count)
        guard !line.isEmpty else { throw ToolError("\(path) holds no password") }
        return line
    }
}
