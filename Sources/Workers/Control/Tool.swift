internal import Assembly
internal import Base

/// `skystead`: the operator's tool.
enum Tool {
    static let commands: [Command] = [
        .up, .check, .doctor, .accountCreate, .accountList, .accountInfo, .accountSuspend, .accountUnsuspend,
        .accountTakedown, .accountDelete, .accountResetPassword, .accountRotateKey, .accountSetEmail, .accountSetHandle,
        .plcShow, .plcRepair, .inviteList, .inviteDisable, .invite, .mailTest, .mailQueue, .mailRetry, .takedownAccount,
        .takedownRecord, .takedownBlob, .reportList, .reportShow, .reportClose, .audit, .blobsCheck, .blobsMove,
        .blobsRestore, .crawlersNotify, .crawlers, .sequenceRaise, .sequence, .restoreFinish, .settings, .migrate,
        .version,
    ]

    /// Exit codes: 0 done; 1 it did not work, or `check` found something wrong; 2 the command line is wrong.
    static func main(_ words: [String], output: Output) -> Int32 {
        do {
            switch try CommandLineParser.parse(words, commands: commands, output: output) {
            case .help(let text):
                output.text(text)
                return 0
            case .run(let invocation): return try invocation.command.run(invocation)
            }
        } catch let error as ToolError {
            output.problem(error.message, remedy: error.remedy)
            return error.exitCode
        } catch {
            output.problem("\(error)", remedy: "skystead check")
            return 1
        }
    }
}
