/** Two processes of the operating system on one PostgreSQL: what one commits the other forgets, also when one is killed in the middle. */
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, it } from "@effect/vitest"
import { ChangeFeed, RepoCache } from "@effecto/cache"
import { Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Context, Effect, Layer, Option, Redacted, Schema } from "effect"

const program = fileURLToPath(new URL("./programs/neighbour.mjs", import.meta.url))
const NAME = "neighbours_counters"

class Counter extends Model.Class<Counter>("Counter")({
  id: Model.GeneratedByApp(Schema.Number),
  value: Schema.Number
}) {}
const Counters = Table.make(Counter, { name: NAME, key: "id" })

/** Starts the other process, which ends with the scope; each question is a line, and so is each answer. */
const neighbour = Effect.gen(function* () {
  const { config } = yield* PgClient.PgClient
  const url = config.url
  if (url === undefined) return yield* Effect.dieMessage("the tests' database has an address")
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, Redacted.value(url), NAME], { stdio: ["pipe", "pipe", "inherit"] })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = Effect.promise(async () => {
    const { done, value } = await lines.next()
    if (done === true) throw new Error("the other process has ended")
    return value
  })
  const ask = (line: string) =>
    Effect.zipRight(
      Effect.sync(() => child.stdin.write(`${line}\n`)),
      answer
    )
  expect(yield* answer).toBe("up")
  return {
    ask,
    kill: Effect.async<void>((resume) => {
      child.once("exit", () => resume(Effect.void))
      child.kill("SIGKILL")
    })
  }
})

const here = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists ${sql(NAME)}`
  yield* sql`create table ${sql(NAME)} (id int primary key, value int not null)`
  yield* sql`insert into ${sql(NAME)} values (1, 0)`
  const { config } = yield* PgClient.PgClient
  const context = yield* Layer.build(
    RepoCache.layer(Counters, { absent: "1 hour" }).pipe(
      Layer.provideMerge(ChangeFeed.layer()),
      Layer.provideMerge(Repo.layer()),
      Layer.provideMerge(PgClient.layer({ ...config, maxConnections: 3 }))
    )
  )
  const counters = Context.get(context, RepoCache.of(Counters))
  const read = Effect.map(counters.get(1), (row) => Option.getOrUndefined(row)?.value)
  return { context, counters, read, run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, context) }
})

/** A whole turn of the event loop, in which sockets are read. */
const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Reads by the cache, again and again, until it answers that; all that it answered on the way, each once. */
const readUntil = (read: Effect.Effect<number | undefined, unknown>, last: number) =>
  Effect.gen(function* () {
    const seen = [yield* read]
    while (seen.at(-1) !== last) {
      yield* turn
      const value = yield* read
      if (value !== seen.at(-1)) seen.push(value)
    }
    return seen
  }).pipe(Effect.timeoutFail({ duration: "30 seconds", onTimeout: () => new Error(`${last} was never read`) }))

describe("two processes", () => {
  it.live("read each other's commits, never go back in time, and end with the last", () =>
    Effect.gen(function* () {
      const { context, read, run } = yield* here
      const other = yield* neighbour
      expect([yield* read, yield* other.ask("read")]).toEqual([0, "0"])
      const [seen] = yield* Effect.all([readUntil(read, 100), other.ask("increment")], { concurrency: "unbounded" })
      expect(seen).toEqual([...seen].sort((a = -1, b = -1) => a - b))

      yield* run(Repo.update(Counters, 1, { value: 1000 }))
      const theirs = Effect.map(other.ask("read"), Number)
      expect((yield* readUntil(theirs, 1000)).length).toBeLessThanOrEqual(2)
      expect(yield* Effect.provide(Repo.get(Counters, 1), context)).toEqual(
        Option.some(new Counter({ id: 1, value: 1000 }))
      )
    }).pipe(Effect.scoped, Effect.provide(EmbeddedPostgres))
  )

  it.live("of which one is killed in a transaction: the other serves what is committed, and the next one too", () =>
    Effect.gen(function* () {
      const { counters, read, run } = yield* here
      const first = yield* neighbour
      expect([yield* read, yield* first.ask("read")]).toEqual([0, "0"])
      expect(yield* first.ask("hang")).toBe("hanging")
      yield* first.kill
      expect(yield* read).toBe(0)
      // The lock of the one that was killed is gone, too: this waits until the server knows.
      yield* run(Repo.modify(Counters, 1, ({ value }) => Effect.succeed({ value: value + 1 })))
      expect(yield* read).toBe(1)
      const second = yield* neighbour
      expect(yield* second.ask("increment")).toBe("incremented")
      yield* readUntil(read, 101)
      expect((yield* counters.stats).rows.hits).toBeGreaterThan(0)
    }).pipe(Effect.scoped, Effect.provide(EmbeddedPostgres))
  )
})
