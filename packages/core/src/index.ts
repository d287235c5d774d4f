/** @since 0.1.0 */
export * as PostgresServer from "./postgres/PostgresServer.js"
