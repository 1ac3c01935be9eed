/// What can go wrong with a database, alike for both engines.
///
/// Bound values never appear in it.
package enum DatabaseError: Error, Equatable {
    /// A unique constraint refused the write; the name is `table_column_column`.
    case unique(String)
    /// A foreign key, check or not-null constraint refused the write.
    case constraint(String)
    /// The database can't be reached, is locked for too long, or its disk is full: worth another try later.
    case unavailable(String)
    /// What is stored can't be read any more: the file or the disk beneath is damaged; the text says what to do.
    case damaged(String)
    /// A search was ended, since it took longer than this.
    case tooSlow(seconds: Double)
    /// Too many searches wait already.
    case tooManySearches
    /// A column is missing or holds another type than the code expects.
    case unreadable(String)
    /// The database's user lacks a right; the text says which.
    case denied(String)
    /// The schema is not the one this binary knows; the text says what to do.
    case schema(String)
    /// Any other failure of a statement.
    case failed(String)
}
