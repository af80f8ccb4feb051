internal import ATProto
internal import Accounts
internal import Base
internal import Hosting
internal import Identity
internal import Web

extension XRPCResponder {
    static let temporary: [XRPCRoute] = [XRPCRoute(CheckHandleAvailability.self), XRPCRoute(CheckSignupQueue.self)]
}

/// `com.atproto.temp.checkSignupQueue`: there is no queue, so everyone with a session is through it.
struct CheckSignupQueue: Method {
    static let nsid: Bytes = "com.atproto.temp.checkSignupQueue"
    static let kind = MethodKind.query
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.refused

    struct Output: XRPCOutput {
        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("activated", true)
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) -> Output { Output() }
}

/// `com.atproto.temp.checkHandleAvailability`: whether a newcomer could have a handle here, and others when not.
struct CheckHandleAvailability: Method {
    static let nsid: Bytes = "com.atproto.temp.checkHandleAvailability"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let handle: Handle
        let email: Bytes?
        let birthDate: Datetime?

        init(_ fields: Fields) throws(Failure) {
            handle = try fields.handle("handle")
            email = try fields.optionalText("email")
            birthDate = try fields.optional("birthDate")
        }
    }

    struct Output: XRPCOutput {
        let handle: Handle
        /// nil when the handle itself can be had.
        let suggestions: [HandleSuggestion]?

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("handle", handle.bytes)
            writer.beginObject("result")
            if let suggestions {
                writer.field("$type", nsid + "#resultUnavailable")
                writer.beginArray("suggestions")
                for suggestion in suggestions {
                    writer.beginObject()
                    writer.field("handle", suggestion.handle.bytes)
                    writer.field("method", suggestion.method)
                    writer.endObject()
                }
                writer.endArray()
            } else {
                writer.field("$type", nsid + "#resultAvailable")
            }
            writer.endObject()
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.checkHandle, key: call.request.peer)]
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let (input, app) = (call.input, call.app)
        let email = try input.email.map { address throws(AccountError) in try Email.parse(address) }
        guard let domain = app.handlePolicy.domain(of: input.handle) else { throw HandleError.foreign(input.handle) }
        do {
            try app.life.checkAvailable(input.handle)
            return Output(handle: input.handle, suggestions: nil)
        } catch AccountError.handleTaken, HandleError.reservedWord {
            let names = HandleSuggestion.all(
                for: input.handle, under: domain, email: email, born: input.birthDate?.bytes)
            var free: [HandleSuggestion] = []
            for name in names where free.count < HandleSuggestion.countMax {
                do { try app.life.checkAvailable(name.handle) } catch is AccountError { continue } catch is HandleError
                { continue }
                free.append(name)
            }
            return Output(handle: input.handle, suggestions: free)
        }
    }
}

/// A handle that somebody might like in place of one that is taken.
struct HandleSuggestion {
    /// Suggestions that one answer gives.
    static let countMax = 5

    let handle: Handle
    /// How it was made, for those who count.
    let method: Bytes

    /// Candidates, the likeliest first; whether they are free is not asked here. Nothing is random: the same question
    /// has the same answer.
    static func all(for handle: Handle, under domain: Bytes, email: Bytes?, born: Bytes?) -> [HandleSuggestion] {
        let label = handle.bytes.upTo(handle.bytes.position(of: 0x2E) ?? handle.bytes.count)
        var found: [HandleSuggestion] = []
        func add(_ base: Bytes, _ tail: Bytes, _ method: Bytes) {
            let name = base.upTo(HandlePolicy.labelSizeMax - tail.count) + tail
            guard let handle = Handle(name + "." + domain), !found.contains(where: { $0.handle == handle }) else {
                return
            }
            found.append(HandleSuggestion(handle: handle, method: method))
        }
        if let email {
            let local = email.upTo(email.position(of: 0x40) ?? email.count)
            add(Bytes(local.filter { ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x7A) }), "", "email")
        }
        if let born, born.count >= 4 {
            let year = born.upTo(4)
            add(label, year, "birth-year")
            add(label, year.from(2), "birth-year-short")
        }
        for tail in ["-here", "-home", "-too"] as [Bytes] { add(label, tail, "word") }
        for number in 2...20 { add(label, Bytes(String(number)), "number") }
        return found
    }
}
