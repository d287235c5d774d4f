/** Writes that are interrupted wherever they are: what is sent with them is there if and only if it is said to be. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Fiber, FiberRef, Schema } from "effect"
import * as Announcement from "../../src/repo/Announcement.js"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { pool } from "./pools.js"

class Room extends Model.Class<Room>("Room")({
  id: Model.GeneratedByApp(Schema.Number),
  name: Schema.String
}) {}
const Rooms = Table.make(Room, { name: "rooms", key: "id" })

/** A Repo on a pool of this size, before an empty table. */
const emptyRooms = (size: number) =>
  Effect.tap(pool(size), ({ sql }) =>
    Effect.zipRight(sql`drop table if exists rooms`, sql`create table rooms (id int primary key, name text not null)`)
  )

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

describe("a write that is interrupted", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("is told of if and only if that was committed, and leaves no connection behind", () =>
      Effect.gen(function* () {
        const outside = yield* SqlClient.SqlClient
        const { repo, sql } = yield* emptyRooms(2)
        yield* sql`create table told (keys text not null)`
        const ends: Array<string> = []
        let made = 0
        yield* Announcement.withCommit((changes, onEnd) => {
          made += 1
          onEnd((outcome) => ends.push(outcome))
          return { text: "insert into told values ($1)", parameters: [JSON.stringify(changes)] }
        }).pipe(Effect.provideService(Repo.Repo, repo))
        for (let n = 0; n < 200; n += 1) {
          const writes: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
            repo.insert(Rooms, { id: n * 2, name: "a" }),
            repo.update(Rooms, (n - (n % 3)) * 2, { name: "b" }),
            repo.transact(repo.insert(Rooms, { id: n * 2 + 1, name: "a" }))
          ]
          const fibers = yield* Effect.forEach(writes, Effect.fork)
          for (let step = 0; step < n % 7; step += 1) yield* step % 2 === 0 ? Effect.yieldNow() : turn
          yield* Effect.forEach(fibers, Fiber.interrupt, { concurrency: "unbounded" })
        }
        const committed = ends.filter((outcome) => outcome === "committed").length
        expect(yield* outside`select count(*)::int as n from told`).toEqual([{ n: committed }])
        expect(committed).toBeGreaterThan(0)
        expect([ends.length, ends.includes("unknown")]).toEqual([made, false])
        // Both connections are there for others.
        yield* Effect.scoped(Effect.zipRight(sql.reserve, sql.reserve))
        expect(
          yield* outside`select 1 from pg_stat_activity where state like 'idle in%' and datname = current_database()`
        ).toEqual([])
      })
    )

    it.scoped("has an end wherever it yields: who made what goes with it is told", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* emptyRooms(2)
        yield* sql`insert into rooms values (1, 'a')`
        let made = 0
        let ended = 0
        yield* Announcement.withCommit((_changes, onEnd) => {
          made += 1
          onEnd(() => {
            ended += 1
          })
          return { text: "select 1", parameters: [] }
        }).pipe(Effect.provideService(Repo.Repo, repo))
        const lost: Array<unknown> = []
        for (const isWhole of [false, true])
          for (let ops = 10; ops < 40; ops += 1)
            for (let turns = 0; turns < 6; turns += 1) {
              const update = repo.update(Rooms, 1, { name: "b" })
              const write = isWhole ? repo.transact(update) : update
              const fiber = yield* Effect.fork(Effect.locally(write, FiberRef.currentMaxOpsBeforeYield, ops))
              yield* Effect.repeatN(Effect.yieldNow(), turns)
              yield* Fiber.interrupt(fiber)
              if (made !== ended) lost.push([isWhole, ops, turns])
              ended = made
            }
        expect(lost).toEqual([])
        expect(made).toBeGreaterThan(0)
      })
    )
  })
})

describe("a write whose connection ends somewhere in its answer", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("is told of as committed if that was said, and as unknown wherever it was committed and not said", () =>
      Effect.gen(function* () {
        const outside = yield* SqlClient.SqlClient
        const { repo, sql } = yield* emptyRooms(1)
        const ends: Array<string> = []
        const heard: Array<string> = []
        const telling = Effect.zipRight(
          Announcement.withCommit((_changes, onEnd) => {
            onEnd((outcome) => ends.push(outcome))
            return { text: "select pg_notify('told', $1)", parameters: ["it"] }
          }),
          Announcement.listen(({ outcome }) => heard.push(outcome))
        )
        yield* Effect.provideService(telling, Repo.Repo, repo)
        const update = repo.update(Rooms, 1, { name: "b" })
        const writes: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          update,
          repo.insert(Rooms, { id: 2, name: "b" }),
          repo.transact(update)
        ]
        const seen = new Set<string>()
        for (const write of writes)
          for (let whole = 0; whole < 400; whole += 3) {
            yield* outside`delete from rooms`
            yield* outside`insert into rooms values (1, 'a')`
            // Sound: it is a connection of @effect/sql-pg's.
            const { pg } = (yield* Effect.scoped(sql.reserve)) as unknown as Has
            const { stream } = pg.connection
            const emit = stream.emit.bind(stream)
            let left = whole
            let isCut = false
            stream.emit = (event, ...rest) => {
              const [bytes] = rest
              if (event !== "data" || !Buffer.isBuffer(bytes)) return emit(event, ...rest)
              const some = bytes.subarray(0, left)
              left -= some.length
              if (some.length > 0) emit(event, some)
              if (some.length < bytes.length) {
                isCut = true
                stream.destroy()
              }
              return true
            }
            const exit = yield* Effect.exit(write)
            stream.emit = emit
            const [found] = yield* outside<{ n: number }>`select count(*)::int as n from rooms where name = 'b'`
            const isCommitted = found?.n === 1
            const came = `${exit._tag} ${isCommitted ? "committed" : "not"}: ${ends.splice(0)}, ${heard.splice(0)}`
            seen.add(came)
            expect(allowed, `${writes.indexOf(write)} after ${whole} bytes`).toContain(came)
            if (!isCut) break
          }
        expect([...seen].sort()).toEqual([
          "Failure committed: unknown, unknown",
          "Failure not: , ",
          "Success committed: committed, committed"
        ])
      })
    )
  })
})

/** Whether it failed, what was stored, what who made what goes with it was told, and who listens. */
const allowed = [
  "Success committed: committed, committed",
  "Failure committed: unknown, unknown",
  "Failure not: unknown, unknown",
  "Failure not: rolledBack, ",
  "Failure not: , "
]

interface Has {
  readonly pg: {
    readonly connection: {
      readonly stream: { emit(event: string, ...rest: Array<unknown>): boolean; destroy(): void }
    }
  }
}
