internal import Accounts
internal import Assembly
internal import Base
internal import Hosting
internal import Identity
internal import Moderation

extension Command {
    static let plcShow = Command(
        "plc show", arguments: ["HANDLE-OR-DID"],
        summary: "prints what the PLC directory has for an account, and what of it is not as this server needs it"
    ) { invocation in
        let service = try AccountTool.service()
        let account = try AccountTool.account(invocation.arguments[0], service, command: "plc show")
        let output = invocation.output
        let (operation, faults) = try AccountTool.explained(service) {
            try service.life.inspectIdentity(of: account)
        }
        output.fact("did", "\(account.did)")
        for alias in operation.alsoKnownAs { output.fact("also known as", alias.description) }
        for method in operation.verificationMethods { output.fact("key #\(method.id)", method.didKey.description) }
        for item in operation.services { output.fact("service #\(item.id)", "\(item.type)  \(item.endpoint)") }
        for key in operation.rotationKeys { output.fact("rotation key", key.description) }
        for fault in faults { output.problem(fault.sentence, remedy: fault.remedy(account)) }
        return faults.isEmpty ? 0 : 1
    }

    static let plcRepair = Command(
        "plc repair", arguments: ["HANDLE-OR-DID"],
        summary: "makes the PLC directory name this server, the account's key and its handle again"
    ) { invocation in
        try AccountTool.act(invocation) { service, account in
            let before = try service.life.inspectIdentity(of: account).faults
            if before.isEmpty { return "is as it must be" }
            try service.administration.repairIdentity(of: account.did, by: .tool)
            return "is as it must be again"
        }
    }
}

extension HostingError.OperationFault {
    fileprivate var sentence: String {
        switch self {
        case .notSigned: "the directory's newest operation is none"
        case .rotationKey: "this server's rotation key is not among them"
        case .serviceType: "the service #atproto_pds is not of the type AtprotoPersonalDataServer"
        case .serviceEndpoint: "the service #atproto_pds is not at this server's address"
        case .signingKey: "the key #atproto is not the one that signs the account's repository here"
        case .handle: "the first name is not the account's handle here"
        case .refused: "the directory refuses changes"
        }
    }

    fileprivate func remedy(_ account: Account) -> String {
        switch self {
        case .rotationKey, .notSigned, .refused: "whoever holds one of its rotation keys can change it"
        case .serviceType, .serviceEndpoint, .signingKey, .handle: "skystead plc repair \(account.did)"
        }
    }
}
