import { PostgresServer, Transaction } from "@effecto/core"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "@effect/sql"
import { Deferred, Effect, Layer, Redacted } from "effect"
import * as core from "@effecto/core"
console.log(Object.keys(core).join(" "))
