internal import Assembly
internal import Base

extension Command {
    static let accountCreate = Command(
        "account create", arguments: ["HANDLE"],
        options: [
            Option(name: "email", value: "ADDRESS", help: "the account's e-mail address (needed)"),
            Option(name: "password-file", value: "FILE", help: "read the password from there; - is standard input"),
        ],
        summary: "makes an account; without --password-file it makes up a password and prints it"
    ) { invocation in 0 }
    static let accountList = Command("account list", summary: "prints every account: DID, handle, state") { _ in 0 }
    static let accountInfo = Command(
        "account info", arguments: ["HANDLE-OR-DID"], summary: "prints what is known of one account"
    ) { _ in 0 }
    static let invite = Command(
        "invite", options: [Option(name: "uses", value: "N", help: "how many accounts it is for (default 1)")],
        summary: "prints a new invite code"
    ) { _ in 0 }
}
