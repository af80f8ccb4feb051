internal import ATProto
public import Accounts
public import Base
internal import Crypto
public import Mail
public import Storage

/// What accounts do by mail: a code goes out, and comes back with what it allows.
///
/// A code and its mail are one transaction, and so are a code's use and what it allows. Without a mail server the mail
/// waits in the queue, and the operator can read the code out.
public struct AccountMail: Sendable {
    private let database: any Database
    private let accounts: AccountStore
    public let tokens: AccountTokenStore
    public let queue: MailQueue
    /// The name of this server in the mails.
    private let host: Bytes
    private let clock: Clock
    private let entropy: Entropy

    public init(
        database: any Database, accounts: AccountStore, tokens: AccountTokenStore, queue: MailQueue, host: Bytes,
        clock: Clock, entropy: Entropy
    ) {
        self.database = database
        self.accounts = accounts
        self.tokens = tokens
        self.queue = queue
        self.host = host
        self.clock = clock
        self.entropy = entropy
    }

    // MARK: Codes go out

    /// Makes a code and queues it to the account's address. Throws `noEmail` when there is none.
    public func send(_ purpose: TokenPurpose, to account: Account) throws {
        guard let email = account.email.flatMap({ MailAddress($0) }) else { throw HostingError.noEmail }
        let (token, mail) = try prepare(purpose, account.did, account.shownHandle, to: email)
        let now = clock.now()
        try database.write { writer in
            try AccountTokenStore.put(token, for: account.did, now: now, in: writer)
            try MailQueue.add(mail, now: now, in: writer)
        }
    }

    /// Queues a code to reset the password of whoever has the address `email`. Does as much, as durably, and says as
    /// little when nobody has it.
    public func sendPasswordReset(to email: Bytes) throws {
        // What is no address is nobody's either.
        let address = MailAddress(email.lowercasedASCII)
        if let address, let account = try accounts.find(email: address.bytes) {
            return try send(.resetPassword, to: account)
        }
        guard let nobody = DID("did:web:nobody.invalid" as Bytes), let nowhere = MailAddress("nobody@nobody.invalid")
        else { return }
        let (_, mail) = try prepare(.resetPassword, nobody, .invalid, to: nowhere)
        let now = clock.now()
        try database.write { try MailQueue.addNothing(mail, now: now, in: $0) }
    }

    private func prepare(
        _ purpose: TokenPurpose, _ did: DID, _ handle: Handle, to address: MailAddress
    ) throws -> (AccountTokenStore.New, MailQueue.Prepared) {
        let token = try tokens.make(purpose, for: did)
        let text = purpose.template.mail(
            code: token.code, account: handle.bytes, host: host, minutes: Int(AccountTokenStore.lifeSeconds / 60))
        // A handle and a host are always lines of text.
        guard let text else { throw HostingError.noEmail }
        return (token, try queue.prepare(text, kind: Bytes(purpose.rawValue), account: did, to: address))
    }

    // MARK: Messages

    /// What somebody wrote to an account, ready for `MailQueue.add`. Throws `noEmail` when the account has no address.
    func message(_ content: Bytes, subject: MailHeaderText, to account: Account) throws -> MailQueue.Prepared {
        guard let email = account.email.flatMap({ MailAddress($0) }) else { throw HostingError.noEmail }
        return try queue.prepare(
            .message(subject, content), kind: MailQueue.message, account: account.did, to: email)
    }

    /// The subject of a message that has none of its own.
    var subject: MailHeaderText? { MailHeaderText("A message from the moderators of " + host) }

    /// What a mail's hand-over means for the code in it: its minutes begin now. For `MailDelivery`.
    public static func wasSent(_ mail: ClaimedMail, at now: Timestamp, in writer: any Writer) throws {
        guard let account = mail.account, let purpose = TokenPurpose(rawValue: mail.kind.description) else { return }
        try AccountTokenStore.renew(purpose, of: account, createdAt: mail.createdAt, now: now, in: writer)
    }

    // MARK: Codes come back

    /// Confirms the account's address. Throws `otherEmail` when `email` is not it, and `AccountTokenError`.
    public func confirmEmail(_ email: Bytes, code: Bytes, of account: Account) throws {
        guard let own = account.email, own == email.lowercasedASCII else { throw HostingError.otherEmail }
        let now = clock.now()
        let token = try tokens.check(code, .confirmEmail, of: account.did, now: now)
        try database.write { writer in
            try token.use(in: writer)
            try AccountStore.confirmEmail(own, of: account.did, at: now, in: writer)
        }
    }

    /// Whether `updateEmail` will want a code; mails it then, to the address that is to be left.
    public func requestEmailUpdate(of account: Account) throws -> Bool {
        guard account.email != nil else { throw HostingError.noEmail }
        guard account.emailConfirmedAt != nil else { return false }
        try send(.updateEmail, to: account)
        return true
    }

    /// Gives the account another address, or turns codes at sign-in on or off, or both.
    ///
    /// A confirmed address is left, and the second factor turned off, only with a code that was mailed to it. Turning
    /// the factor on makes the account safer and needs none, as clients expect. Throws `tokenRequired`,
    /// `emailNotConfirmed`, `AccountTokenError` and what `AccountStore` throws.
    public func updateEmail(_ email: Bytes, factor: Bool?, code: Bytes?, of account: Account) throws {
        let address = try Email.parse(email)
        let isOther = address != account.email
        let isConfirmed = account.emailConfirmedAt != nil
        if factor == true, isOther || !isConfirmed { throw HostingError.emailNotConfirmed }
        let onlyTurnsOn = !isOther && factor == true
        var token: AccountTokenStore.Checked?
        if isConfirmed, !onlyTurnsOn {
            guard let code else { throw HostingError.tokenRequired }
            token = try tokens.check(code, .updateEmail, of: account.did, now: clock.now())
        }
        try database.write { writer in
            if let token { try token.use(in: writer) }
            if isOther {
                try AccountStore.setEmail(address, of: account.did, in: writer)
                // What was mailed to the old address says nothing about the new one.
                try AccountTokenStore.removeAll(of: account.did, in: writer)
            }
            if let factor, !isOther { try AccountStore.setEmailAuthFactor(factor, of: account.did, in: writer) }
        }
    }

    /// Sets a new password by a code that alone says whose it is, and ends every session of the account. Throws
    /// `AccountError` for the password and `AccountTokenError`.
    public func resetPassword(_ password: Bytes, code: Bytes) throws {
        try AccountStore.checkPassword(password)
        let token = try tokens.check(code, .resetPassword, now: clock.now())
        let hash = try Password.hash(password, entropy: entropy)
        try database.write { writer in
            try token.use(in: writer)
            try AccountStore.setPassword(hash, of: token.account, in: writer)
        }
    }

    /// The second factor at sign-in: takes a code that is right, and mails one when none is given.
    public func signIn(_ account: Account, code: Bytes?) throws {
        guard let code else {
            try send(.signIn, to: account)
            throw SessionError.authFactorRequired
        }
        let token = try tokens.check(code, .signIn, of: account.did, now: clock.now())
        try database.write { try token.use(in: $0) }
    }
}

extension AccountTokenStore.Checked {
    /// Uses the code up, and drops a mail with it that still waits: the operator may have read it out.
    func use(in writer: any Writer) throws {
        try AccountTokenStore.use(self, in: writer)
        try MailQueue.drop(Bytes(purpose.rawValue), of: account, in: writer)
    }
}

extension TokenPurpose {
    /// The words of its mail.
    var template: MailTemplate {
        switch self {
        case .confirmEmail: .confirmEmail
        case .updateEmail: .updateEmail
        case .resetPassword: .resetPassword
        case .deleteAccount: .deleteAccount
        case .plcOperation: .plcOperation
        case .signIn: .signIn
        }
    }
}
