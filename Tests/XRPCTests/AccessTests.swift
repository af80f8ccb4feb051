import Authorization
import Base
import Testing

@testable import XRPCHandlers

/// Who may call each method: the contract (specs/pds.md §1), written out once more. A method that is not here, or is
/// otherwise here, is a failure.
@Suite struct AccessTests {
    struct Row: Sendable, Equatable {
        /// As the method says it.
        let rule: String
        /// What an OAuth client's token must grant.
        let scope: OAuthRule

        init(_ rule: String, _ scope: OAuthRule = .none) {
            self.rule = rule
            self.scope = scope
        }
    }

    static let anyone = Row("anyone")
    static let admin = Row("admin")
    static let moderator = Row("moderator")
    static let viewer = Row("viewer", .any)

    static let rows: [String: Row] = [
        "com.atproto.server.describeServer": anyone,
        "com.atproto.server.createAccount": Row("service token, if given"),
        "com.atproto.server.createSession": anyone,
        "com.atproto.server.getSession": Row("account(any, deactivated)", .any),
        "com.atproto.server.refreshSession": Row("refresh token"),
        "com.atproto.server.deleteSession": Row("refresh token, even expired"),
        "com.atproto.server.createAppPassword": Row("account(full, deactivated)", .refused),
        "com.atproto.server.listAppPasswords": Row("account(any, deactivated)", .refused),
        "com.atproto.server.revokeAppPassword": Row("account(any, deactivated)", .refused),
        "com.atproto.server.getServiceAuth": Row("account(any, deactivated, taken down)", .rpcAskedFor),
        "com.atproto.server.checkAccountStatus": Row("account(any, deactivated)", .any),
        "com.atproto.server.activateAccount": Row("account(full, deactivated)", .refused),
        "com.atproto.server.deactivateAccount": Row("account(full, deactivated, taken down)", .refused),
        "com.atproto.server.createInviteCode": admin, "com.atproto.server.createInviteCodes": admin,
        "com.atproto.server.getAccountInviteCodes": Row("account(full)", .refused),
        "com.atproto.server.reserveSigningKey": anyone,

        "com.atproto.repo.createRecord": Row("account(any)", .repo([.create])),
        "com.atproto.repo.putRecord": Row("account(any)", .repo([.create, .update])),
        "com.atproto.repo.deleteRecord": Row("account(any)", .repo([.delete])),
        "com.atproto.repo.applyWrites": Row("account(any)", .eachWrite),
        "com.atproto.repo.getRecord": anyone, "com.atproto.repo.listRecords": anyone,
        "com.atproto.repo.describeRepo": anyone,
        "com.atproto.repo.uploadBlob": Row("account(any, deactivated) or service token", .blob),
        "com.atproto.repo.importRepo": Row("account(full, deactivated)", .account(.repo, .manage)),
        "com.atproto.repo.listMissingBlobs": Row("account(any, deactivated)", .any),

        "com.atproto.sync.getRepo": viewer, "com.atproto.sync.getRecord": viewer, "com.atproto.sync.getBlocks": viewer,
        "com.atproto.sync.getLatestCommit": viewer, "com.atproto.sync.getBlob": viewer,
        "com.atproto.sync.listBlobs": viewer, "com.atproto.sync.getHead": viewer,
        "com.atproto.sync.getCheckout": viewer, "com.atproto.sync.getRepoStatus": anyone,
        "com.atproto.sync.listRepos": anyone,

        "com.atproto.identity.resolveHandle": anyone, "com.atproto.identity.resolveDid": anyone,
        "com.atproto.identity.resolveIdentity": anyone, "com.atproto.identity.refreshIdentity": anyone,
        "com.atproto.identity.updateHandle": Row("account(any)", .identity(.handle)),
        "com.atproto.identity.getRecommendedDidCredentials": Row("account(any, deactivated)", .any),

        "com.atproto.identity.requestPlcOperationSignature": Row(
            "account(full, deactivated, taken down)", .identity(.everything)),
        "com.atproto.identity.signPlcOperation": Row(
            "account(full, deactivated, taken down)", .identity(.everything)),
        "com.atproto.identity.submitPlcOperation": Row("account(any, deactivated)", .identity(.everything)),

        "com.atproto.server.requestEmailConfirmation": Row("account(any, deactivated)", .account(.email, .manage)),
        "com.atproto.server.confirmEmail": Row("account(any, deactivated)", .account(.email, .manage)),
        "com.atproto.server.requestEmailUpdate": Row("account(full, deactivated)", .refused),
        "com.atproto.server.updateEmail": Row("account(full, deactivated)", .refused),
        "com.atproto.server.requestPasswordReset": anyone, "com.atproto.server.resetPassword": anyone,
        "com.atproto.server.requestAccountDelete": Row("account(full, deactivated)", .refused),
        "com.atproto.server.deleteAccount": anyone,

        "com.atproto.admin.getAccountInfo": moderator,
        "com.atproto.admin.getAccountInfos": moderator,
        "com.atproto.admin.getInviteCodes": moderator, "com.atproto.admin.sendEmail": moderator,
        "com.atproto.admin.disableInviteCodes": moderator,
        "com.atproto.admin.enableAccountInvites": moderator,
        "com.atproto.admin.disableAccountInvites": moderator,
        "com.atproto.admin.getSubjectStatus": moderator,
        "com.atproto.admin.updateSubjectStatus": moderator,
        "com.atproto.admin.searchAccounts": admin,
        "com.atproto.admin.updateAccountHandle": admin,
        "com.atproto.admin.updateAccountEmail": admin,
        "com.atproto.admin.updateAccountPassword": admin,
        "com.atproto.admin.updateAccountSigningKey": admin,
        "com.atproto.admin.deleteAccount": admin,
        "com.atproto.temp.revokeAccountCredentials": admin,
        "com.atproto.temp.addReservedHandle": admin,
        "com.atproto.label.queryLabels": anyone,
        "com.atproto.temp.fetchLabels": anyone,
        "com.atproto.sync.listReposByCollection": anyone,
        "com.atproto.temp.checkHandleAvailability": anyone,
        "com.atproto.moderation.createReport": Row("account(any, deactivated, taken down)", .rpcItself),
        "com.atproto.temp.checkSignupQueue": Row("account(any, deactivated)", .refused),
        "com.atproto.lexicon.resolveLexicon": anyone,

        "app.bsky.actor.getPreferences": Row("account(any, deactivated)", .rpcItself),
        "app.bsky.actor.putPreferences": Row("account(any, deactivated)", .rpcItself),
    ]

    static let routes = XRPCResponder.routes.map { $0.nsid.description }

    @Test(arguments: routes) func aMethodIsAsAgreed(_ nsid: String) throws {
        let route = try #require(XRPCResponder.table[Bytes(nsid)])
        #expect(Self.rows[nsid] == Row(route.rule, route.scope))
    }

    @Test func nothingElseIsAgreed() { #expect(Set(Self.rows.keys) == Set(Self.routes)) }

    /// A method that knows an account says what a token must grant; one that knows none has nothing to say.
    @Test(arguments: routes) func scopesFitTheCallers(_ nsid: String) throws {
        let route = try #require(XRPCResponder.table[Bytes(nsid)])
        let knowsAccount = route.rule.hasPrefix("account(") || route.rule == "viewer"
        #expect(knowsAccount == (route.scope != .none))
    }
}
