import Storage

/// The steps of the schema in their order.
///
/// A released step is never edited: its digest is checked at every start.
package enum Schema {
    package static let migrations = [
        accounts, nodes, email, mfa, secrets, guests, audit, verification, oauth, growth, lists,
    ]
}
