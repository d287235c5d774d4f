/** Caches of several processes on one real PostgreSQL: what one commits the others forget, and what follows when they cannot hear it. */
import { Model } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { ChangeFeed } from "@effecto/cache"
import { Announcement, Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Context, Effect, Layer, Logger, Metric, Option, Schema, Stream } from "effect"
import { fixture, gated, killListener, People, process, Seats } from "./processes.js"

layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
  it.effect("is opened, and closed with its scope, also in a region that cannot be interrupted", () =>
    Effect.gen(function* () {
      const feed = Layer.provide(ChangeFeed.layer(), Repo.layer())
      const status = Effect.flatMap(Layer.build(feed), (context) => Context.get(context, ChangeFeed.ChangeFeed).status)
      expect(yield* Effect.uninterruptible(Effect.scoped(status))).toBe("listening")
    })
  )

  describe("a commit of another process", () => {
    it.scoped("is forgotten here: rows, what was known to be absent, and queries that depend on the table", () =>
      Effect.gen(function* () {
        yield* fixture
        const a = yield* process("a")
        const b = yield* process("b")
        let runs = 0
        const count = b.people.getOrLoad(
          "count",
          Effect.sync(() => (runs += 1)),
          { dependsOn: [Seats] }
        )
        expect([yield* b.name(1), yield* b.name(3), yield* count, yield* count]).toEqual(["Ada", undefined, 1, 1])

        yield* a.run(Repo.update(People, 1, { name: "Ada L." }))
        yield* b.until("people [1]")
        expect([yield* b.name(1), yield* count]).toEqual(["Ada L.", 2])
        yield* a.run(Repo.insert(People, { id: 3, name: "Cyd" }))
        yield* b.until("people [3]")
        expect(yield* b.name(3)).toBe("Cyd")
        yield* a.run(Repo.update(Seats, { hallName: "b", no: 9007199254740993n }, { taken: true }))
        yield* b.until('seats [{"hallName":"b","no":"9007199254740993n"}]')
        expect(yield* count).toBe(3)
      })
    )

    it.scoped(
      "tells of all its tables at once, and of nothing that was rolled back, to a savepoint or as a whole",
      () =>
        Effect.gen(function* () {
          yield* fixture
          const a = yield* process("a")
          const b = yield* process("b")
          yield* a.run(
            Effect.ignore(Repo.transact(Effect.zipRight(Repo.update(People, 1, { name: "x" }), Effect.fail("no"))))
          )
          yield* a.run(
            Repo.transact(
              Effect.gen(function* () {
                yield* Repo.update(Seats, { hallName: "a", no: 1n }, { taken: true })
                yield* Effect.ignore(
                  Repo.transact(Effect.zipRight(Repo.update(People, 1, { name: "y" }), Effect.fail("no")))
                )
                yield* Repo.transact(Repo.update(People, 2, { name: "Rob" }))
              })
            )
          )
          yield* b.until("people [2]")
          expect(b.events).toEqual(['seats [{"hallName":"a","no":"1n"}]', "people [2]"])
          // Its own messages tell a process nothing: it has forgotten before it answered.
          yield* b.run(Repo.update(People, 1, { name: "z" }))
          yield* a.until("people [1]")
          expect(a.events).toEqual(["people [1]"])
        })
    )

    it.scoped("keeps no load that began before it", () =>
      Effect.gen(function* () {
        yield* fixture
        const a = yield* process("a")
        const b = yield* process("b")
        const before = (yield* b.people.stats).rows.loads
        for (let n = 0; n < 20; n += 1) {
          yield* b.clear
          // Both at once, in whatever order they come to the database.
          yield* Effect.all([a.run(Repo.update(People, 1, { name: `${n}` })), b.name(1)], { concurrency: "unbounded" })
          yield* b.until("people [1]")
          expect(yield* b.name(1)).toBe(`${n}`)
        }
        expect((yield* b.people.stats).rows.loads).toBeGreaterThan(before)
      })
    )

    it.scoped("with more than a message holds is told by tables", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const a = yield* process("a")
        const b = yield* process("b")
        yield* sql`insert into seats select repeat('x', 100) || n, n, false from generate_series(1, 200) n`
        const seats = yield* a.run(Repo.all(Seats))
        yield* b.name(1)
        yield* a.run(
          Repo.transact(
            Effect.zipRight(
              Effect.forEach(seats, ({ hallName, no }) => Repo.update(Seats, { hallName, no }, { taken: true }), {
                discard: true
              }),
              Repo.update(People, 2, { name: "Rob" })
            )
          )
        )
        yield* b.until("people [2]")
        expect(b.events).toEqual(["seats all", "people [2]"])
      })
    )

    it.scoped("that was announced by hand is told as well", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const a = yield* process("a")
        const b = yield* process("b")
        expect(yield* b.name(1)).toBe("Ada")
        yield* a.run(
          Repo.transact(Effect.zipRight(sql`update people set name = 'by hand'`, Announcement.touch(People)))
        )
        yield* b.until("people all")
      })
    )
  })

  describe("a feed whose connection ends", () => {
    it.scoped("has its caches read around until it hears again, and forget everything before they are served", () =>
      Effect.gen(function* () {
        yield* fixture
        const gate = gated()
        const a = yield* process("a")
        const b = yield* process("b-killed", { backoff: gate.schedule })
        expect([yield* b.name(1), yield* b.name(2)]).toEqual(["Ada", "Bob"])
        yield* killListener("b-killed")
        yield* b.until("around")
        expect(yield* b.feed.status).toBe("blind")
        yield* a.run(Repo.update(People, 1, { name: "unheard" }))
        const loads = (yield* b.people.stats).rows.loads
        expect([yield* b.name(1), yield* b.name(1)]).toEqual(["unheard", "unheard"])
        expect((yield* b.people.stats).rows.size).toBe(2)
        yield* a.run(Repo.update(People, 2, { name: "unheard too" }))
        yield* gate.open
        yield* b.until("served")
        expect(b.events).toEqual(["around", "everything", "served"])
        expect(yield* b.feed.status).toBe("listening")
        expect([yield* b.name(1), yield* b.name(2), yield* b.name(1)]).toEqual(["unheard", "unheard too", "unheard"])
        expect((yield* b.people.stats).rows.loads).toBeGreaterThan(loads)
        // It hears as before.
        yield* a.run(Repo.update(People, 2, { name: "heard" }))
        yield* b.until("people [2]")
        expect(yield* b.name(2)).toBe("heard")
      })
    )

    it.scoped("serves what it holds meanwhile, if it was told to, and forgets everything afterwards", () =>
      Effect.gen(function* () {
        yield* fixture
        const gate = gated()
        const a = yield* process("a")
        const b = yield* process("b-serves", { backoff: gate.schedule, whileBlind: "serve" })
        expect(yield* b.name(1)).toBe("Ada")
        const blind = yield* Effect.fork(
          b.feed.events.pipe(
            Stream.takeUntil(({ _tag }) => _tag === "Blind"),
            Stream.runDrain
          )
        )
        yield* Effect.yieldNow()
        yield* killListener("b-serves")
        yield* blind
        yield* a.run(Repo.update(People, 1, { name: "unheard" }))
        expect(yield* b.name(1)).toBe("Ada")
        yield* gate.open
        yield* b.until("everything")
        expect(b.events).toEqual(["everything"])
        expect(yield* b.name(1)).toBe("unheard")
      })
    )

    it.scoped("connects as often as it is killed", () =>
      Effect.gen(function* () {
        yield* fixture
        const b = yield* process("b-often")
        for (let n = 0; n < 3; n += 1) {
          yield* killListener("b-often")
          yield* b.until("served")
          expect(b.events).toEqual(["around", "everything", "served"])
          yield* b.clear
        }
      })
    )
  })

  describe("messages that are not what they should be", () => {
    it.scoped("make everything be forgotten, and are said once: no JSON, another version, a gap", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const warnings: Array<string> = []
        const b = yield* process("b").pipe(
          Effect.provide(
            Logger.add(
              Logger.make(({ logLevel, message }) => {
                if (logLevel._tag === "Warning") warnings.push(String(message))
              })
            )
          )
        )
        const send = (payload: string) => sql`select pg_notify('effecto_changes', ${payload})`
        for (const payload of ["", "?", '{"v":2,"t":[]}', '{"v":1}', '{"v":1,"t":[7]}']) {
          yield* b.clear
          expect(yield* b.name(1)).toBe("Ada")
          yield* send(payload)
          yield* b.until("everything")
          expect((yield* b.people.stats).rows.size).toBe(0)
        }
        expect(warnings.length).toBe(1)
        expect(warnings[0]).toContain("is no JSON")
        // Of a known table only the table.
        yield* b.clear
        yield* send('{"v":1,"t":[[null,"people",[null]]]}')
        yield* b.until("people all")
        expect(b.events).toEqual(["people all"])
        // 1 was heard; 2 and 3 were committed as well, says 4.
        yield* b.clear
        yield* send('{"v":1,"s":"c","n":1,"c":[0,0],"t":[]}')
        yield* send('{"v":1,"s":"c","n":4,"c":[3,3],"t":[[null,"people",[2]]]}')
        yield* b.until("people [2]")
        expect(b.events).toEqual(["everything", "people [2]"])
      })
    )
  })

  describe("installTrigger", () => {
    it.scoped(
      "tells of what others write: rows by their keys, many rows and truncate by the table, nothing of nothing",
      () =>
        Effect.gen(function* () {
          const sql = yield* fixture
          yield* ChangeFeed.installTrigger(People, { maxKeys: 3 })
          yield* ChangeFeed.installTrigger(People, { maxKeys: 3 }) // as a migration that runs again
          yield* ChangeFeed.installTrigger(Seats)
          const b = yield* process("b")
          expect(yield* b.name(1)).toBe("Ada")
          yield* sql`update people set name = 'psql' where id = 1`
          yield* b.until("people [1]")
          expect(yield* b.name(1)).toBe("psql")
          yield* sql`update people set name = 'nobody' where id = 99`
          yield* sql`delete from people where id = 99`
          yield* sql`update people set id = 4 where id = 2`
          yield* sql`insert into people select n, 'many' from generate_series(10, 19) n`
          yield* Effect.ignore(
            sql.withTransaction(Effect.zipRight(sql`delete from people`, Effect.fail("rolled back")))
          )
          yield* sql`update seats set taken = true where no > 1`
          yield* sql`delete from people where id = 4`
          yield* sql`truncate people`
          yield* sql`insert into people values (7, 'last')`
          yield* b.until("people [7]")
          expect(b.events).toEqual([
            "people [1]",
            "people [2,4]",
            "people all",
            'seats [{"no":"9007199254740993n","hallName":"b"}]',
            "people [4]",
            "people all",
            "people [7]"
          ])
          yield* b.clear
          yield* ChangeFeed.uninstallTrigger(People)
          yield* ChangeFeed.uninstallTrigger(People)
          yield* sql`insert into people values (8, 'untold')`
          yield* sql`update seats set taken = false where no = 1`
          yield* b.until('seats [{"no":"1n","hallName":"a"}]')
          expect(b.events.length).toBe(1)
          const left = yield* sql`select proname from pg_proc where proname like 'effecto_changes_people%'`
          expect(left).toEqual([])
        })
    )
  })

  describe("triggerSql", () => {
    it.scoped("quotes whatever a table, a schema, a column and a channel are called", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        class Odd extends Model.Class<Odd>("Odd")({ keys: Schema.String, n: Schema.NumberFromString }) {}
        const Odds = Table.make(Odd, {
          name: `o"d'd$effecto$\\s`,
          schema: `s"c'h`,
          key: ["keys", "n"],
          columns: { n: `effecto_new"` }
        })
        yield* sql`drop schema if exists ${sql("s\"c'h")} cascade`
        yield* sql`create schema ${sql("s\"c'h")}`
        yield* sql.unsafe(`create table "s""c'h"."o""d'd$effecto$\\s" (keys text, "effecto_new""" int)`)
        const channel = `c"h'a\\n`
        yield* ChangeFeed.installTrigger(Odds, { channel })
        const b = yield* process("b", { channel })
        yield* sql.unsafe(`insert into "s""c'h"."o""d'd$effecto$\\s" values ('k''"\\', 1)`)
        const event = `${Odds.name} [{"n":1,"keys":"k'\\"\\\\"}]`
        yield* b.until(event)
        expect(b.events).toEqual([event])
        yield* ChangeFeed.uninstallTrigger(Odds)
        expect(yield* sql`select 1 from pg_proc where proname like 'effecto_changes_od%'`).toEqual([])
      })
    )

    it("names the table alone where the model does not say for sure what a key is in a program", () => {
      class Day extends Model.Class<Day>("Day")({ day: Schema.DateFromSelf }) {}
      const text = ChangeFeed.triggerSql(Table.make(Day, { name: "days", key: "day" }))
      expect(text).not.toContain("to_jsonb")
      expect(text).toContain("jsonb_build_array(null, tg_table_name, 0)")
    })
  })

  describe("what is measured", () => {
    it.scoped("the time from a change to its being forgotten, in events and in a metric", () =>
      Effect.gen(function* () {
        yield* fixture
        const a = yield* process("a", { channel: "measured" })
        const b = yield* process("b", { channel: "measured" })
        const heard = yield* b.feed.events.pipe(
          Stream.filterMap((event) =>
            event._tag === "Heard" && event.lag !== undefined ? Option.some(event.lag) : Option.none()
          ),
          Stream.take(1),
          Stream.runHead,
          Effect.fork
        )
        yield* Effect.yieldNow()
        // Until the clocks have been compared there is none.
        const lag = yield* Effect.raceFirst(
          Effect.flatMap(heard, (found) => found),
          Effect.forever(Effect.zipRight(a.run(Repo.update(People, 1, { name: "x" })), Effect.yieldNow()))
        )
        expect(lag).toBeGreaterThanOrEqual(0)
        expect(lag).toBeLessThan(10_000)
        const snapshot = yield* Metric.snapshot
        const found = [...snapshot].filter(({ metricKey }) =>
          metricKey.tags.some(({ key, value }) => key === "channel" && value === "measured")
        )
        expect(found.map(({ metricKey }) => metricKey.name).sort()).toEqual(
          expect.arrayContaining(["effecto_cache_coherence_lag_milliseconds", "effecto_feed_messages"])
        )
      })
    )
  })
})
