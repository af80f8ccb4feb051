public import Base

/// Finds the node of a CID: from a cache, a database or a CAR. Throws `MSTError(.missingBlock)` when there is none.
public typealias MSTLoader = (CID) throws -> MSTNode

/// A Merkle search tree that can be read and changed; only nodes on the paths that an operation needs are loaded.
///
/// Every node is checked when it is reached: its layer against its depth and its keys against the interval that
/// the nodes above leave for it, before anything below it is loaded. Changes are held in memory until `seal`.
public struct MST {
    /// The deepest layer: reaching it takes 80 zero bits of SHA-256, which nobody has.
    public static let layerMax = 40

    var root: MSTNode
    var rootLayer: Int
    let load: MSTLoader
    /// CIDs of stored nodes that the tree no longer holds.
    private var retired: [CID] = []

    /// The empty tree.
    public init(load: @escaping MSTLoader) {
        root = .empty
        rootLayer = 0
        self.load = load
    }

    /// The tree under `root`.
    public init(root cid: CID, load: @escaping MSTLoader) throws {
        self.load = load
        root = try load(cid)
        rootLayer = root.layer ?? 0
        if root.keys.isEmpty, !root.children[0].isNone { throw MSTError(.untrimmedRoot, in: cid) }
        guard rootLayer <= Self.layerMax else { throw MSTError(.tooDeep, in: cid) }
    }

    /// The root's CID, or nil when there are changes that are not sealed.
    public var rootCID: CID? { root.cid }

    /// The node of a child, checked; nil when there is no child.
    func node(_ child: MSTNode.Child, layer: Int, low: Bytes?, high: Bytes?) throws -> MSTNode? {
        let node: MSTNode
        switch child {
        case .none: return nil
        case .stored(let cid): node = try load(cid)
        case .node(let held): node = held
        }
        try node.check(layer: layer, low: low, high: high)
        return node
    }

    /// The record's CID under `key`, or nil.
    public func get(_ key: Bytes) throws -> CID? {
        var (node, layer, low, high) = (root, rootLayer, Bytes?.none, Bytes?.none)
        while true {
            let position = node.position(of: key)
            if position < node.keys.count, node.keys[position] == key { return node.values[position] }
            if position > 0 { low = node.keys[position - 1] }
            if position < node.keys.count { high = node.keys[position] }
            layer -= 1
            guard let next = try self.node(node.children[position], layer: layer, low: low, high: high) else {
                return nil
            }
            node = next
        }
    }

    private mutating func retire(_ node: MSTNode) {
        if let cid = node.cid { retired.append(cid) }
    }
}

// MARK: Changing

extension MST {
    /// Puts `value` under `key`. Returns what was there before, or nil. The same value again changes nothing.
    @discardableResult public mutating func put(_ key: Bytes, _ value: CID) throws -> CID? {
        let (isValid, layer) = key.withUnsafeBytes { (MSTKey.isValid($0), MSTKey.layer(of: $0)) }
        guard isValid else { throw MSTError(.invalidKey) }
        guard layer <= Self.layerMax else { throw MSTError(.tooDeep) }
        var previous: CID?
        if root.isEmpty {
            retire(root)
            root = MSTNode(keys: [key], values: [value], children: [.none, .none], layer: layer)
            rootLayer = layer
        } else if layer > rootLayer {
            let (left, right) = try split(.node(root), at: key, layer: rootLayer, low: nil, high: nil)
            root = MSTNode(
                keys: [key], values: [value],
                children: [raise(left, from: rootLayer, to: layer - 1), raise(right, from: rootLayer, to: layer - 1)],
                layer: layer)
            rootLayer = layer
        } else {
            let place = Place(key: key, value: value, layer: layer)
            root = try put(place, in: root, layer: rootLayer, low: nil, high: nil, previous: &previous) ?? root
        }
        return previous
    }

    private struct Place {
        let key: Bytes
        let value: CID
        let layer: Int
    }

    /// The node with the key put in, or nil when nothing changed.
    private mutating func put(
        _ place: Place, in node: MSTNode, layer: Int, low: Bytes?, high: Bytes?, previous: inout CID?
    ) throws -> MSTNode? {
        let position = node.position(of: place.key)
        let count = node.keys.count
        var (keys, values, children) = (node.keys, node.values, node.children)
        if position < count, keys[position] == place.key {
            previous = values[position]
            if values[position] == place.value { return nil }
            values[position] = place.value
        } else {
            let low = position > 0 ? keys[position - 1] : low
            let high = position < count ? keys[position] : high
            if place.layer == layer {
                let (left, right) = try split(
                    children[position], at: place.key, layer: layer - 1, low: low, high: high)
                keys.insert(place.key, at: position)
                values.insert(place.value, at: position)
                children[position] = left
                children.insert(right, at: position + 1)
            } else if let child = try self.node(children[position], layer: layer - 1, low: low, high: high) {
                guard
                    let changed = try put(
                        place, in: child, layer: layer - 1, low: low, high: high, previous: &previous)
                else { return nil }
                children[position] = .node(changed)
            } else {
                let leaf = MSTNode(
                    keys: [place.key], values: [place.value], children: [.none, .none], layer: place.layer)
                children[position] = raise(.node(leaf), from: place.layer, to: layer - 1)
            }
        }
        retire(node)
        return MSTNode(keys: keys, values: values, children: children, layer: keys.isEmpty ? nil : layer)
    }

    /// `child` of layer `from` under nodes without entries up to layer `to`.
    private func raise(_ child: MSTNode.Child, from: Int, to: Int) -> MSTNode.Child {
        if child.isNone || from >= to { return child }
        var raised = child
        for _ in from..<to { raised = .node(MSTNode(keys: [], values: [], children: [raised], layer: nil)) }
        return raised
    }

    /// What of `child` lies before and after `key`, which is not in it.
    private mutating func split(
        _ child: MSTNode.Child, at key: Bytes, layer: Int, low: Bytes?, high: Bytes?
    ) throws -> (MSTNode.Child, MSTNode.Child) {
        guard let node = try self.node(child, layer: layer, low: low, high: high) else { return (.none, .none) }
        let (position, count) = (node.position(of: key), node.keys.count)
        if position < count, node.keys[position] == key { throw MSTError(.wrongLayer, in: node.cid) }
        let (left, right) = try split(
            node.children[position], at: key, layer: layer - 1,
            low: position > 0 ? node.keys[position - 1] : low,
            high: position < count ? node.keys[position] : high)
        // A node that lies wholly on one side stays as it is.
        if position == 0, left.isNone { return (.none, .node(node)) }
        if position == count, right.isNone { return (.node(node), .none) }
        retire(node)
        return (
            part(node, 0..<position, children: node.children[..<position] + [left]),
            part(node, position..<count, children: [right] + node.children[(position + 1)...])
        )
    }

    private func part(
        _ node: MSTNode, _ range: Range<Int>, children: ArraySlice<MSTNode.Child>
    ) -> MSTNode.Child {
        guard range.isEmpty else {
            return .node(
                MSTNode(
                    keys: Array(node.keys[range]), values: Array(node.values[range]), children: Array(children),
                    layer: node.layer))
        }
        guard let only = children.first, !only.isNone else { return .none }
        return .node(MSTNode(keys: [], values: [], children: [only], layer: nil))
    }

    /// Takes `key` out. Returns its value, or nil when it was not there and nothing changed.
    @discardableResult public mutating func remove(_ key: Bytes) throws -> CID? {
        var removed: CID?
        let child = try remove(key, from: root, layer: rootLayer, low: nil, high: nil, removed: &removed)
        guard removed != nil else { return nil }
        guard case .node(var top) = child else {
            root = MSTNode(keys: [], values: [], children: [.none], layer: nil)
            rootLayer = 0
            return removed
        }
        while top.keys.isEmpty {
            guard let next = try node(top.children[0], layer: rootLayer - 1, low: nil, high: nil) else { break }
            retire(top)
            top = next
            rootLayer -= 1
        }
        root = top
        return removed
    }

    private mutating func remove(
        _ key: Bytes, from node: MSTNode, layer: Int, low: Bytes?, high: Bytes?, removed: inout CID?
    ) throws -> MSTNode.Child {
        let (position, count) = (node.position(of: key), node.keys.count)
        let low = position > 0 ? node.keys[position - 1] : low
        var (keys, values, children) = (node.keys, node.values, node.children)
        if position < count, keys[position] == key {
            removed = values[position]
            let high = position + 1 < count ? keys[position + 1] : high
            let merged = try merge(
                children[position], children[position + 1], layer: layer - 1, low: low, middle: key, high: high)
            keys.remove(at: position)
            values.remove(at: position)
            children.remove(at: position + 1)
            children[position] = merged
        } else {
            let high = position < count ? keys[position] : high
            guard let child = try self.node(children[position], layer: layer - 1, low: low, high: high) else {
                return .node(node)
            }
            let changed = try remove(key, from: child, layer: layer - 1, low: low, high: high, removed: &removed)
            if removed == nil { return .node(node) }
            children[position] = changed
        }
        retire(node)
        if keys.isEmpty, children[0].isNone { return .none }
        return .node(MSTNode(keys: keys, values: values, children: children, layer: keys.isEmpty ? nil : layer))
    }

    /// One child of two neighbours, between which a key was taken out.
    private mutating func merge(
        _ left: MSTNode.Child, _ right: MSTNode.Child, layer: Int, low: Bytes?, middle: Bytes, high: Bytes?
    ) throws -> MSTNode.Child {
        if left.isNone { return right }
        if right.isNone { return left }
        guard let before = try node(left, layer: layer, low: low, high: middle),
            let after = try node(right, layer: layer, low: middle, high: high)
        else { return .none }
        let joined = try merge(
            before.children[before.keys.count], after.children[0], layer: layer - 1,
            low: before.keys.last ?? low, middle: middle, high: after.keys.first ?? high)
        retire(before)
        retire(after)
        return .node(
            MSTNode(
                keys: before.keys + after.keys, values: before.values + after.values,
                children: before.children.dropLast() + [joined] + after.children.dropFirst(),
                layer: before.layer ?? after.layer))
    }
}

// MARK: Sealing

extension MST {
    /// What a batch of changes made of a tree.
    public struct Sealed: Sendable {
        public let root: CID
        /// Nodes that were not there before, children before parents, each with its block.
        public let new: [(node: MSTNode, block: [UInt8])]
        /// Nodes that were there before and that the tree no longer holds.
        public let obsolete: [CID]
    }

    /// Gives every changed node its block and CID. The tree can be changed further.
    public mutating func seal() -> Sealed {
        var sealing = Sealing(retired: retired)
        root = sealing.seal(root)
        retired = []
        return Sealed(root: root.cid.unsafelyUnwrapped, new: sealing.new, obsolete: sealing.obsolete)
    }

    private struct Sealing {
        var new: [(node: MSTNode, block: [UInt8])] = []
        /// A change that was undone brings back a node that is stored already: it is neither obsolete nor new.
        private var few: [CID]
        private var many: Set<CID> = []

        /// Up to this many are looked through one by one, which is what a single write has; a set costs more to make.
        private static let fewMax = 24

        init(retired: [CID]) {
            few = retired.count <= Self.fewMax ? retired : []
            if few.isEmpty { many = Set(retired) }
            new.reserveCapacity(retired.count + 2)
        }

        var obsolete: [CID] { few.isEmpty ? Array(many) : few }

        private mutating func isBack(_ cid: CID) -> Bool {
            if let position = few.firstIndex(of: cid) {
                few.swapAt(position, few.count - 1)
                few.removeLast()
                return true
            }
            return !many.isEmpty && many.remove(cid) != nil
        }

        mutating func seal(_ node: MSTNode) -> MSTNode {
            if node.cid != nil { return node }
            var children = node.children
            for index in children.indices {
                guard case .node(let child) = children[index] else { continue }
                // Sealed nodes hold their children by CID, so that a cache of nodes can let go of each alone.
                children[index] = .stored(seal(child).cid.unsafelyUnwrapped)
            }
            let block = MSTNode.encode(keys: node.keys, values: node.values, children: children)
            let cid = CID(hashing: block)
            let sealed = MSTNode(
                keys: node.keys, values: node.values, children: children, layer: node.layer, cid: cid)
            if !isBack(cid) { new.append((sealed, block)) }
            return sealed
        }
    }
}
