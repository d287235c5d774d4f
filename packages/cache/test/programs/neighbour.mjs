// Another process of the application: a pool, a Repo, a cache of people and a change feed. It does what each line on its input says, one after the other,
// and answers with a line. Arguments: the address of the database, the name of the table.
import { createInterface } from "node:readline"
import { Model } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { ChangeFeed, RepoCache } from "@effecto/cache"
import { Repo, Table } from "@effecto/core"
import { Effect, Layer, ManagedRuntime, Option, Redacted, Schema } from "effect"

const [, , url = "", name = ""] = process.argv

class Counter extends Model.Class("Counter")({
  id: Model.GeneratedByApp(Schema.Number),
  value: Schema.Number
}) {}
const Counters = Table.make(Counter, { name, key: "id" })

const runtime = ManagedRuntime.make(
  RepoCache.layer(Counters, { absent: "1 hour" }).pipe(
    Layer.provideMerge(ChangeFeed.layer()),
    Layer.provideMerge(Repo.layer()),
    Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), maxConnections: 3 }))
  )
)

/** @param {number} times */
const increment = (times) =>
  Effect.repeatN(
    Repo.modify(Counters, 1, ({ value }) => Effect.succeed({ value: value + 1 })),
    times - 1
  )

const commands = {
  listening: Effect.as(
    Effect.flatMap(RepoCache.of(Counters), (cache) => cache.get(1)),
    "listening"
  ),
  read: Effect.map(
    Effect.flatMap(RepoCache.of(Counters), (cache) => cache.get(1)),
    (row) => Option.match(row, { onNone: () => "none", onSome: ({ value }) => String(value) })
  ),
  increment: Effect.as(increment(100), "incremented"),
  // Written and not committed: it says so from within the transaction, and is killed there.
  hang: Repo.transact(
    Effect.zipRight(
      increment(1),
      Effect.async(() => {
        process.stdout.write("hanging\n")
      })
    )
  )
}

await runtime.runPromise(commands.listening)
process.stdout.write("up\n")
for await (const line of createInterface({ input: process.stdin })) {
  const command = Reflect.get(commands, line)
  process.stdout.write(`${await runtime.runPromise(command)}\n`)
}
await runtime.dispose()
