internal import Base
internal import Web

/// One scope taken apart: `resource[:positional][?name=value&…]`. What it means is its resource's business.
/// https://atproto.com/specs/permission (scope string syntax)
struct PermissionSyntax {
    struct Parameter {
        let name: Bytes
        let value: Bytes
    }

    let resource: Bytes
    /// What stands after the colon, decoded. Empty is not absent.
    let positional: Bytes?
    let parameters: [Parameter]

    init(resource: Bytes, positional: Bytes? = nil, parameters: [Parameter]) {
        self.resource = resource
        self.positional = positional
        self.parameters = parameters
    }

    /// nil when a percent escape is broken or stands for what is no text. `+` is a plus: the syntax has percent
    /// encoding, not that of forms.
    init?(_ scope: Bytes) {
        let mark = scope.position(of: 0x3F)
        let head = scope.upTo(mark ?? scope.count)
        let colon = head.position(of: 0x3A)
        resource = head.upTo(colon ?? head.count)
        if let colon {
            guard let decoded = try? PercentCoding.decode(head.from(colon + 1)) else { return nil }
            positional = decoded
        } else {
            positional = nil
        }
        var found: [Parameter] = []
        if let mark {
            for part in scope.from(mark + 1).split(on: 0x26) where !part.isEmpty {
                let equals = part.position(of: 0x3D) ?? part.count
                guard let name = try? PercentCoding.decode(part.upTo(equals)),
                    let value = try? PercentCoding.decode(part.from(equals + 1))
                else { return nil }
                found.append(Parameter(name: name, value: value))
            }
        }
        parameters = found
    }

    /// Whether there is no other parameter. One that is not understood could narrow the permission.
    func hasOnly(_ names: [Bytes]) -> Bool { parameters.allSatisfy { names.contains($0.name) } }

    /// The values of the parameter that may be positional, or nil when it is given in both ways.
    func positionalValues(_ name: Bytes) -> [Bytes]? {
        let named = values(name)
        guard let positional else { return named }
        return named.isEmpty ? [positional] : nil
    }

    func values(_ name: Bytes) -> [Bytes] {
        parameters.compactMap { $0.name == name ? $0.value : nil }
    }
}

/// Writes one scope, in the form that everything equal to it has.
struct PermissionWriter {
    private var out: [UInt8]
    private var hasParameters = false

    init(_ resource: Bytes) { out = resource.array }

    mutating func positional(_ value: Bytes) {
        out.append(0x3A)
        append(value, plain: [0x2B])
    }

    mutating func parameter(_ name: Bytes, _ value: Bytes) {
        out.append(hasParameters ? 0x26 : 0x3F)
        hasParameters = true
        out.append(contentsOf: name)
        out.append(0x3D)
        append(value, plain: [])
    }

    /// A list: in the place of its own when it is of one, else as a parameter repeated.
    mutating func positional(_ name: Bytes, _ values: [Bytes]) {
        if let only = values.first, values.count == 1 { return positional(only) }
        for value in values { parameter(name, value) }
    }

    func finish() -> Bytes { Bytes(out) }

    /// What the examples of the specification leave as it is. A plus is escaped in parameters, where readers of forms
    /// take it for a blank.
    private mutating func append(_ value: Bytes, plain: [UInt8]) {
        for position in value.indices {
            switch value[position] {
            case 0x2A, 0x2C, 0x2F, 0x3A, 0x40: out.append(value[position])
            case let byte where plain.contains(byte): out.append(byte)
            default: out.append(contentsOf: PercentCoding.encode(value.slice(position..<position + 1)))
            }
        }
    }
}
