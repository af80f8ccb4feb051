internal import Base
internal import Crypto

/// When a JWT counts that was made for one request: a DPoP proof (RFC 9449 §4.3), a client assertion (RFC 7523 §3).
enum RequestTimes {
    /// What is wrong with its times, for the client's developer.
    struct Fault: Error {
        let reason: Bytes
    }

    /// Checks `iat`, which must be there, and `exp` and `nbf` where they are; returns when it will be too old. The
    /// client's clock may be off by `toleranceSeconds`, to either side.
    static func check(
        _ claims: JOSEObject, ageSecondsMax: Int64, toleranceSeconds: Int64, now: Timestamp
    ) throws(Fault) -> Timestamp {
        guard let issued = claims.numericDate("iat") else { throw Fault(reason: "iat is missing") }
        guard issued <= now.seconds + toleranceSeconds else { throw Fault(reason: "iat is in the future") }
        guard issued >= now.seconds - ageSecondsMax - toleranceSeconds else { throw Fault(reason: "iat is too old") }
        if claims["exp"] != nil {
            guard let end = claims.numericDate("exp"), end > now.seconds - toleranceSeconds else {
                throw Fault(reason: "it has expired")
            }
        }
        if claims["nbf"] != nil {
            guard let start = claims.numericDate("nbf"), start <= now.seconds + toleranceSeconds else {
                throw Fault(reason: "it is not valid yet")
            }
        }
        return Timestamp(seconds: issued + ageSecondsMax + toleranceSeconds + 1)
    }
}
