import HTTPTypes

/// Finds the route of a canonical path.
///
/// Ours and not Hummingbird's router, because that one can't tell a wrong method (405, with `Allow`) from an unknown
/// path.
struct RouteTable: Sendable {
    enum Match: Sendable {
        case found(Route, parameters: [String: String])
        case wrongMethod(allowed: [HTTPRequest.Method])
        case unknown
    }

    private final class Node {
        var literals: [String: Node] = [:]
        var parameter: (name: String, node: Node)?
        var routes: [HTTPRequest.Method: Route] = [:]
    }

    /// An immutable copy of the tree that is built once.
    private indirect enum Tree: Sendable {
        case node(literals: [String: Tree], parameter: (name: String, tree: Tree)?, routes: [HTTPRequest.Method: Route])
    }

    let routes: [Route]
    private let root: Tree

    init(_ routes: [Route]) {
        self.routes = routes
        let root = Node()
        for route in routes {
            precondition(
                !route.isOpen || route.takes == nil || route.limit == .auth,
                "\(route.path): what strangers may send a body to has the strict limit"
            )
            var node = root
            for segment in route.path.split(separator: "/").map(String.init) {
                if segment.hasPrefix(":") {
                    let name = String(segment.dropFirst())
                    let next = node.parameter?.node ?? Node()
                    precondition(
                        node.parameter.map { $0.name == name } ?? true,
                        "\(route.path): a parameter has two names"
                    )
                    node.parameter = (name, next)
                    node = next
                } else {
                    let next = node.literals[segment] ?? Node()
                    node.literals[segment] = next
                    node = next
                }
            }
            precondition(node.routes[route.method] == nil, "\(route.method) \(route.path) is there twice")
            node.routes[route.method] = route
        }
        self.root = Self.freeze(root)
    }

    private static func freeze(_ node: Node) -> Tree {
        .node(
            literals: node.literals.mapValues(freeze),
            parameter: node.parameter.map { ($0.name, freeze($0.node)) },
            routes: node.routes
        )
    }

    /// A literal segment wins over a parameter.
    ///
    /// HEAD is answered as GET.
    func match(_ method: HTTPRequest.Method, _ segments: [String]) -> Match {
        var parameters: [String: String] = [:]
        guard let routes = Self.find(segments[...], in: root, &parameters) else { return .unknown }
        if let route = routes[method == .head ? .get : method] { return .found(route, parameters: parameters) }
        let heads: [HTTPRequest.Method] = routes[.get] == nil ? [] : [.head]
        return .wrongMethod(allowed: (routes.keys + heads).sorted { $0.rawValue < $1.rawValue })
    }

    private static func find(_ segments: ArraySlice<String>, in tree: Tree, _ parameters: inout [String: String])
        -> [HTTPRequest.Method: Route]?
    {
        guard case .node(let literals, let parameter, let routes) = tree else { return nil }
        guard let segment = segments.first else { return routes.isEmpty ? nil : routes }
        if let next = literals[segment], let found = find(segments.dropFirst(), in: next, &parameters) { return found }
        guard let parameter, let found = find(segments.dropFirst(), in: parameter.tree, &parameters) else { return nil }
        parameters[parameter.name] = segment
        return found
    }
}
