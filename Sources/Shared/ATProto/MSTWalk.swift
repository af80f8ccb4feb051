public import Base

extension MST {
    /// What a walk in stream order meets: a node's block, then its children and records in key order.
    public enum Item {
        case node(MSTNode)
        case record(key: Bytes, value: CID)
    }

    /// How a walk goes on after a node.
    public enum Step: Sendable { case into, past, stop }

    /// Every node and record in the order of a streamable CAR: a node before what is under it, a record where its
    /// key stands. The tree must be sealed. `body` decides on going into a node, past it, or to stop.
    public func preorder(_ body: (Item) throws -> Step) throws {
        _ = try preorder(root, layer: rootLayer, low: nil, high: nil, body)
    }

    private func preorder(
        _ node: MSTNode, layer: Int, low: Bytes?, high: Bytes?, _ body: (Item) throws -> Step
    ) throws -> Bool {
        switch try body(.node(node)) {
        case .stop: return false
        case .past: return true
        case .into: break
        }
        for position in 0...node.keys.count {
            let low = position > 0 ? node.keys[position - 1] : low
            let high = position < node.keys.count ? node.keys[position] : high
            if let child = try self.node(node.children[position], layer: layer - 1, low: low, high: high) {
                guard try preorder(child, layer: layer - 1, low: low, high: high, body) else { return false }
            }
            guard position < node.keys.count else { continue }
            if case .stop = try body(.record(key: node.keys[position], value: node.values[position])) { return false }
        }
        return true
    }

    /// Records in key order, from `first` on (or from the beginning). `body` returns false to stop.
    public func each(from first: Bytes = Bytes(), _ body: (Bytes, CID) throws -> Bool) throws {
        _ = try each(root, layer: rootLayer, low: nil, high: nil, from: first, body)
    }

    private func each(
        _ node: MSTNode, layer: Int, low: Bytes?, high: Bytes?, from first: Bytes,
        _ body: (Bytes, CID) throws -> Bool
    ) throws -> Bool {
        for position in node.position(of: first)...node.keys.count {
            let low = position > 0 ? node.keys[position - 1] : low
            let high = position < node.keys.count ? node.keys[position] : high
            if let child = try self.node(node.children[position], layer: layer - 1, low: low, high: high) {
                guard try each(child, layer: layer - 1, low: low, high: high, from: first, body) else { return false }
            }
            guard position < node.keys.count else { break }
            guard try body(node.keys[position], node.values[position]) else { return false }
        }
        return true
    }
}

// MARK: Proofs

extension MST {
    /// The nodes from the root to where `key` is or would be: they prove that it is there, or that it is not.
    public func path(to key: Bytes, _ body: (MSTNode) throws -> Void) throws {
        var (node, layer, low, high) = (root, rootLayer, Bytes?.none, Bytes?.none)
        while true {
            try body(node)
            let position = node.position(of: key)
            if position < node.keys.count, node.keys[position] == key { return }
            if position > 0 { low = node.keys[position - 1] }
            if position < node.keys.count { high = node.keys[position] }
            layer -= 1
            guard let next = try self.node(node.children[position], layer: layer, low: low, high: high) else { return }
            node = next
        }
    }

    /// The nodes on the paths to `key` and to its neighbours on either side: what inverting an operation on `key`
    /// can need (repository specification, Commit validation by operation inversion).
    public func covering(_ key: Bytes, _ body: (MSTNode) throws -> Void) throws {
        try covering(key, in: root, layer: rootLayer, low: nil, high: nil, body)
    }

    private func covering(
        _ key: Bytes, in node: MSTNode, layer: Int, low: Bytes?, high: Bytes?, _ body: (MSTNode) throws -> Void
    ) throws {
        try body(node)
        let (position, count) = (node.position(of: key), node.keys.count)
        let found = position < count && node.keys[position] == key
        // The gaps to go down: one when the key is not here, else the one on each side of it.
        for gap in position...(found ? position + 1 : position) {
            let low = gap > 0 ? node.keys[gap - 1] : low
            let high = gap < count ? node.keys[gap] : high
            guard let child = try self.node(node.children[gap], layer: layer - 1, low: low, high: high) else {
                continue
            }
            try covering(key, in: child, layer: layer - 1, low: low, high: high, body)
        }
    }
}

/// One change of one record, as a commit tells it.
public struct MSTOperation: Sendable, Equatable {
    public let key: Bytes
    /// The record's CID after the commit; nil when it was deleted.
    public let value: CID?
    /// The record's CID before the commit; nil when it was created.
    public let previous: CID?

    public init(key: Bytes, value: CID?, previous: CID?) {
        self.key = key
        self.value = value
        self.previous = previous
    }
}

extension MST {
    /// Takes `operations` back: afterwards this is the tree before the commit, if they are what the commit did.
    ///
    /// Throws `MSTError(.operationMismatch)` when an operation does not fit the tree.
    public mutating func invert(_ operations: [MSTOperation]) throws {
        for operation in operations {
            let found: CID?
            if let previous = operation.previous {
                guard previous != operation.value else { throw MSTError(.operationMismatch) }
                found = try put(operation.key, previous)
            } else {
                found = try remove(operation.key)
            }
            guard found == operation.value else { throw MSTError(.operationMismatch) }
        }
    }

    /// The nodes that a consumer needs to take `operations` back from this sealed tree, without repeats: those on
    /// the path to each key and to its neighbours.
    public func inversionNodes(_ operations: [MSTOperation]) throws -> [MSTNode] {
        var seen: Set<CID> = []
        var nodes: [MSTNode] = []
        for operation in operations {
            try covering(operation.key) { node in
                if let cid = node.cid, seen.insert(cid).inserted { nodes.append(node) }
            }
        }
        return nodes
    }
}

// MARK: Differences

extension MST {
    /// A key whose value is not the same in two trees.
    public typealias Difference = MSTOperation

    /// How `new` differs from `old`, in key order. Subtrees that both share are not walked.
    public static func difference(
        from old: MST, to new: MST, _ body: (Difference) throws -> Void
    ) throws {
        var left = Cursor(old)
        var right = Cursor(new)
        while true {
            switch (left.top, right.top) {
            case (nil, nil): return
            case (.subtree(let a, let layerA, _, _)?, .subtree(let b, let layerB, _, _)?):
                if let cid = a.cid, cid == b.cid {
                    left.pop()
                    right.pop()
                } else {
                    if layerA >= layerB { try left.expand() }
                    if layerB >= layerA { try right.expand() }
                }
            case (.subtree?, _): try left.expand()
            case (_, .subtree?): try right.expand()
            case (.record(let key, let a)?, .record(let other, let b)?):
                if key == other {
                    if a != b { try body(Difference(key: key, value: b, previous: a)) }
                    left.pop()
                    right.pop()
                } else if key < other {
                    try body(Difference(key: key, value: nil, previous: a))
                    left.pop()
                } else {
                    try body(Difference(key: other, value: b, previous: nil))
                    right.pop()
                }
            case (.record(let key, let a)?, nil):
                try body(Difference(key: key, value: nil, previous: a))
                left.pop()
            case (nil, .record(let key, let b)?):
                try body(Difference(key: key, value: b, previous: nil))
                right.pop()
            }
        }
    }

    /// What is left to see of a tree, next item last.
    private struct Cursor {
        enum Step {
            case subtree(MSTNode.Child, layer: Int, low: Bytes?, high: Bytes?)
            case record(Bytes, CID)
        }

        let tree: MST
        var steps: [Step]

        init(_ tree: MST) {
            self.tree = tree
            steps = tree.root.isEmpty ? [] : [.subtree(.node(tree.root), layer: tree.rootLayer, low: nil, high: nil)]
        }

        var top: Step? { steps.last }

        mutating func pop() { _ = steps.popLast() }

        /// Puts a subtree's children and records in its place.
        mutating func expand() throws {
            guard case .subtree(let child, let layer, let low, let high)? = steps.popLast() else { return }
            guard let node = try tree.node(child, layer: layer, low: low, high: high) else { return }
            for position in stride(from: node.keys.count, through: 0, by: -1) {
                if position < node.keys.count { steps.append(.record(node.keys[position], node.values[position])) }
                if node.children[position].isNone { continue }
                steps.append(
                    .subtree(
                        node.children[position], layer: layer - 1,
                        low: position > 0 ? node.keys[position - 1] : low,
                        high: position < node.keys.count ? node.keys[position] : high))
            }
        }
    }
}
