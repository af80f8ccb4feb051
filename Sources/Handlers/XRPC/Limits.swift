internal import ATProto
internal import Accounts
public import Base
internal import Crypto
public import Web

/// The figures of the reference (specs/pds.md §2.4), so that clients that pace themselves keep working.
extension RateLimit {
    /// Calls of one address, whatever they are.
    public static let calls = [RateLimit("calls-5min", points: 3_000, seconds: 300)]
    /// Those that fetch whole repositories: a relay's beginning.
    public static let getRepo = [RateLimit("getRepo-5min", points: 6_000, seconds: 300)]
    static let createSession = [
        RateLimit("createSession-5min", points: 30, seconds: 300),
        RateLimit("createSession-day", points: 300, seconds: 86_400),
    ]
    static let createAccount = [RateLimit("createAccount-5min", points: 100, seconds: 300)]
    static let updateHandle = [
        RateLimit("updateHandle-5min", points: 10, seconds: 300),
        RateLimit("updateHandle-day", points: 50, seconds: 86_400),
    ]
    /// A key costs a stored row: strangers get few.
    static let reserveSigningKey = [RateLimit("reserveSigningKey-5min", points: 100, seconds: 300)]
    /// Resolving makes this server ask others: a stranger must not use it as a hammer.
    static let resolve = [RateLimit("resolve-5min", points: 1_500, seconds: 300)]
    /// Each may cost a minute of work and twice its size on the disk.
    static let importRepo = [
        RateLimit("importRepo-hour", points: 20, seconds: 3_600),
        RateLimit("importRepo-day", points: 60, seconds: 86_400),
    ]
    /// A mail to the caller's own address, of each kind.
    static let requestEmailConfirmation = mailed("requestEmailConfirmation-hour", "requestEmailConfirmation-day")
    static let requestEmailUpdate = mailed("requestEmailUpdate-hour", "requestEmailUpdate-day")
    static let requestAccountDelete = mailed("requestAccountDelete-hour", "requestAccountDelete-day")
    static let requestPlcOperationSignature = mailed(
        "requestPlcOperationSignature-hour", "requestPlcOperationSignature-day")
    /// Whoever knows the password has codes mailed: more than a person needs, too few to fill a mailbox.
    static let signInCode = [
        RateLimit("signInCode-hour", points: 10, seconds: 3_600),
        RateLimit("signInCode-day", points: 30, seconds: 86_400),
    ]
    static let requestPasswordReset = [
        RateLimit("requestPasswordReset-hour", points: 15, seconds: 3_600),
        RateLimit("requestPasswordReset-day", points: 50, seconds: 86_400),
    ]
    /// The same for one address, whoever asks from wherever. As many as of other mails: what a person needs. Strangers
    /// may use them up; each has then brought its owner a code that works.
    static let passwordResetMailbox = mailed("passwordResetMailbox-hour", "passwordResetMailbox-day")
    /// Mail to an address that nobody has confirmed, of all kinds and by all accounts that had it one after the other:
    /// whoever makes accounts could have any mailbox filled. Not shared with password resets, which strangers may use
    /// up.
    static let unconfirmedMailbox = [
        RateLimit("unconfirmedMailbox-hour", points: 10, seconds: 3_600),
        RateLimit("unconfirmedMailbox-day", points: 30, seconds: 86_400),
    ]
    static let resetPassword = [RateLimit("resetPassword-5min", points: 50, seconds: 300)]
    static let deleteAccount = [RateLimit("deleteAccount-5min", points: 50, seconds: 300)]
    /// As many guesses at one account's password as signing in allows from one address, from all addresses.
    static let deleteAccountGuesses = [RateLimit("deleteAccountGuesses-5min", points: 30, seconds: 300)]
    /// Each asks the directory, which has limits of its own.
    static let submitPlcOperation = [RateLimit("submitPlcOperation-5min", points: 30, seconds: 300)]
    /// A look into who has an account here, by name.
    static let checkHandle = [RateLimit("checkHandle-5min", points: 500, seconds: 300)]
    /// Somebody reads each of them.
    static let createReport = [
        RateLimit("createReport-5min", points: 30, seconds: 300),
        RateLimit("createReport-day", points: 300, seconds: 86_400),
    ]
    static let uploadBlob = [RateLimit("uploadBlob-day", points: 1_000, seconds: 86_400)]
    static let repoWrites = [
        RateLimit("repoWrites-hour", points: 5_000, seconds: 3_600),
        RateLimit("repoWrites-day", points: 35_000, seconds: 86_400),
    ]
}

extension RateLimit {
    private static func mailed(_ hour: StaticString, _ day: StaticString) -> [RateLimit] {
        [RateLimit(hour, points: 5, seconds: 3_600), RateLimit(day, points: 15, seconds: 86_400)]
    }
}

extension Charge {
    static func resolve(_ peer: Bytes) -> Charge { Charge(RateLimit.resolve, key: peer) }

    /// A mail to the address `email`, whether anybody here has it or not.
    static func mailbox(_ limits: [RateLimit], _ email: Bytes) -> Charge {
        // An address of a stranger's wish may be of any length, and what is kept of it for a day need not be one.
        Charge(limits, key: Bytes(Hex.encode(SHA256.hash(email.lowercasedASCII).bytes.prefix(16))))
    }

    /// A mail that an account asks for, to its own address: by the account, and while it is not confirmed that the
    /// address is theirs, by the address.
    static func mail(_ limits: [RateLimit], to account: Account) -> [Charge] {
        let own = Charge(limits, key: account.did.bytes)
        guard account.emailConfirmedAt == nil, let email = account.email else { return [own] }
        return [own, mailbox(RateLimit.unconfirmedMailbox, email)]
    }

    /// Repository writes of one account: create 3, put or update 2, delete 1 (specs/pds.md §2.4).
    public static func repoWrites(_ did: Bytes, cost: Int) -> Charge {
        Charge(RateLimit.repoWrites, key: did, cost: cost)
    }
}

extension BudgetState {
    /// The `RateLimit-*` header fields.
    func append(to response: inout Response) {
        response.append("RateLimit-Limit", HeaderValue(limit))
        response.append("RateLimit-Remaining", HeaderValue(remaining))
        response.append("RateLimit-Reset", HeaderValue(Int(reset.seconds)))
        if let policy = HeaderValue(Bytes("\(limit);w=\(seconds)")) { response.append("RateLimit-Policy", policy) }
    }
}

/// The budgets of an address for calls of any kind.
public struct CallBudgets: Sendable {
    private let calls: PrepaidBudget
    private let getRepo: PrepaidBudget

    /// Addresses of `exempt` are not counted: relays and AppViews of the operator's own.
    public init(_ limiter: Limiter, exempt: Set<Bytes>) {
        calls = PrepaidBudget(limiter, RateLimit.calls, exempt: exempt)
        getRepo = PrepaidBudget(limiter, RateLimit.getRepo, exempt: exempt)
    }

    /// Throws `BudgetExceeded`.
    func charge(_ request: Request, _ method: Bytes, now: Timestamp) throws -> BudgetState? {
        try (method == GetRepo.nsid ? getRepo : calls).charge(request.peer, now: now)
    }
}
