public import Base

/// A statement and its arguments, kept apart.
///
/// A value written into the literal becomes a bound argument, never text:
///
/// ```swift
/// let one: SQL = "SELECT value FROM record WHERE repo = \(repo) AND key = \(key)"
/// one.text    // SELECT value FROM record WHERE repo = $1 AND key = $2   (both engines take $n)
/// ```
public struct SQL: Sendable, ExpressibleByStringInterpolation {
    /// One bound argument. Text is UTF-8 bytes, so that nothing is normalised on the way.
    public enum Value: Sendable, Equatable {
        case null, integer(Int64), text(Bytes), bytes(Bytes)
    }

    public let text: String
    public let arguments: [Value]

    public init(stringLiteral value: String) {
        text = value
        arguments = []
    }

    public init(stringInterpolation: Interpolation) {
        text = stringInterpolation.text
        arguments = stringInterpolation.arguments
    }

    public struct Interpolation: StringInterpolationProtocol {
        var text = ""
        var arguments: [Value] = []

        public init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + interpolationCount * 3)
            arguments.reserveCapacity(interpolationCount)
        }
        public mutating func appendLiteral(_ literal: String) { text += literal }
        public mutating func appendInterpolation(_ value: some Bindable) { append(value.sqlValue) }
        public mutating func appendInterpolation(_ value: (some Bindable)?) { append(value?.sqlValue ?? .null) }

        private mutating func append(_ value: Value) {
            arguments.append(value)
            text += "$"
            text += String(arguments.count)
        }
    }
}

/// A type that can be an argument of a statement. Text types bind as text, byte strings as bytes.
public protocol Bindable { var sqlValue: SQL.Value { get } }
extension SQL.Value: Bindable { public var sqlValue: SQL.Value { self } }
extension String: Bindable { public var sqlValue: SQL.Value { .text(Bytes(self)) } }
extension Int: Bindable { public var sqlValue: SQL.Value { .integer(Int64(self)) } }
extension Int64: Bindable { public var sqlValue: SQL.Value { .integer(self) } }
extension Bool: Bindable { public var sqlValue: SQL.Value { .integer(self ? 1 : 0) } }
extension Timestamp: Bindable { public var sqlValue: SQL.Value { .integer(microseconds) } }
extension [UInt8]: Bindable { public var sqlValue: SQL.Value { .bytes(Bytes(self)) } }
/// `Bytes` alone is a byte string (BLOB, BYTEA). An identifier's own type binds as text.
extension Bytes: Bindable { public var sqlValue: SQL.Value { .bytes(self) } }
