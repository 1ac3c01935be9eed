/// A table as the database itself describes it.
package struct Table: Sendable, Equatable {
    package struct Column: Sendable, Equatable {
        package let name: String
        /// In the engine's words.
        package let type: String
        package let isBoolean: Bool
        /// The database gives the value unless one is forced on it.
        package let isIdentity: Bool
    }

    package let name: String
    package let columns: [Column]
    /// The columns of the primary key, in its order.
    package let key: [String]
    /// The tables that its foreign keys point to.
    package let references: [String]
}

extension Transaction {
    /// Every table but the list of migrations, each behind those that it refers to.
    package func tables() throws -> [Table] {
        let names =
            switch dialect {
            case .sqlite: try all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            case .postgres:
                try all(
                    """
                    SELECT table_name AS name FROM information_schema.tables
                    WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
                    """
                )
            }
        var left = try names.map { row in try table(try row.get("name")) }
            .filter { $0.name != Migration.table }.sorted { $0.name < $1.name }
        var ordered: [Table] = []
        while !left.isEmpty {
            let isPlaced = { (name: String) in ordered.contains { $0.name == name } }
            guard
                let next = left.firstIndex(where: { table in
                    table.references.allSatisfy { $0 == table.name || isPlaced($0) }
                })
            else { throw DatabaseError.schema("The tables refer to each other in a circle.") }
            ordered.append(left.remove(at: next))
        }
        return ordered
    }

    private func table(_ name: String) throws -> Table {
        let columns =
            switch dialect {
            case .sqlite:
                try all(
                    """
                    SELECT name, type, pk AS place, FALSE AS is_identity FROM pragma_table_info(\(name)) ORDER BY cid
                    """
                )
            case .postgres:
                try all(
                    """
                    SELECT c.column_name AS name, c.data_type AS type, c.is_identity = 'YES' AS is_identity,
                        coalesce(k.ordinal_position, 0) AS place
                    FROM information_schema.columns c
                    LEFT JOIN information_schema.table_constraints t ON t.table_schema = c.table_schema
                        AND t.table_name = c.table_name AND t.constraint_type = 'PRIMARY KEY'
                    LEFT JOIN information_schema.key_column_usage k ON k.constraint_name = t.constraint_name
                        AND k.table_schema = t.table_schema AND k.table_name = t.table_name
                        AND k.column_name = c.column_name
                    WHERE c.table_schema = current_schema() AND c.table_name = \(name) ORDER BY c.ordinal_position
                    """
                )
            }
        let references =
            switch dialect {
            case .sqlite: try all("SELECT DISTINCT \"table\" AS name FROM pragma_foreign_key_list(\(name))")
            case .postgres:
                try all(
                    """
                    SELECT DISTINCT target.relname AS name FROM pg_constraint f
                    JOIN pg_class source ON source.oid = f.conrelid JOIN pg_class target ON target.oid = f.confrelid
                    JOIN pg_namespace n ON n.oid = source.relnamespace
                    WHERE f.contype = 'f' AND n.nspname = current_schema() AND source.relname = \(name)
                    """
                )
            }
        let places = try columns.map { row in
            (name: try row.get("name", as: String.self), place: try row.get("place", as: Int.self))
        }
        return Table(
            name: name,
            columns: try columns.map { row in
                let type: String = try row.get("type")
                return Table.Column(
                    name: try row.get("name"),
                    type: type,
                    isBoolean: type == "boolean",
                    isIdentity: try row.get("is_identity")
                )
            },
            key: places.filter { $0.place > 0 }.sorted { $0.place < $1.place }.map(\.name),
            references: try references.map { row in try row.get("name") }.sorted()
        )
    }
}

extension Database {
    /// The schema as SQL text, in a stable order: what the golden files hold.
    package func schema() async throws -> String {
        let statements = try await read { tx in
            switch tx.dialect {
            case .sqlite:
                try tx.all(
                    """
                    SELECT sql || ';' AS text FROM sqlite_master
                    WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY tbl_name, type DESC, name
                    """
                )
            case .postgres: try tx.postgresSchema()
            }
        }
        return try statements.map { row in try row.get("text") }.joined(separator: "\n\n") + "\n"
    }
}

extension Transaction {
    fileprivate func postgresSchema() throws -> [Row] {
        try all(
            """
            WITH columns AS (
                SELECT a.attrelid AS relation, a.attnum AS place, '    ' || a.attname || ' '
                    || format_type(a.atttypid, a.atttypmod)
                    || CASE a.attidentity WHEN 'a' THEN ' GENERATED ALWAYS AS IDENTITY' ELSE '' END
                    || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
                    || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') AS text
                FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                WHERE a.attnum > 0 AND NOT a.attisdropped
                UNION ALL
                SELECT conrelid, 10000 + row_number() OVER (ORDER BY contype, conname),
                    '    CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(oid)
                FROM pg_constraint
            )
            SELECT relname AS name, 0 AS place,
                'CREATE TABLE ' || relname || E' (\\n' || string_agg(text, E',\\n' ORDER BY place) || E'\\n)'
                    || coalesce(' WITH (' || array_to_string(reloptions, ', ') || ')', '') || ';' AS text
            FROM pg_class JOIN columns ON relation = pg_class.oid
            WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace GROUP BY relname, reloptions
            UNION ALL
            SELECT tablename, 1, replace(indexdef, 'public.', '') || ';' FROM pg_indexes
            WHERE schemaname = current_schema()
                AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = indexname AND contype IN ('p', 'u'))
            ORDER BY 1, 2, 3
            """
        )
    }
}
