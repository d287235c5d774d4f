/** The parts of a change feed by themselves: what it sends, how it finds gaps, whom it holds, and how it listens. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Either, FastCheck, Fiber, Schedule, TestClock } from "effect"
import { vi } from "vitest"
import { Hub } from "../src/feedhub.js"
import { Attendance, Ledger } from "../src/feedledger.js"
import { Listener, type Owner } from "../src/feedlistener.js"
import { decode, encode, encodeProbe } from "../src/feedmessage.js"

const stamp = { sender: "s", number: 3, closed: 2, committed: 1 }
const sent = (head: string) => `${head}1700000000000}`

describe("a message", () => {
  it("says which rows were changed, whatever their keys are", () => {
    const keys = [1, -0.5, "ü'\"\\\u0000\ud800", true, 9007199254740993n, new Date(5), { hall: "a", no: { deep: 2n } }]
    const changes = [
      { schema: undefined, table: "people", keys },
      { schema: "app", table: 'se"ats', keys: "all" as const }
    ]
    expect(decode(sent(encode(stamp, changes)))).toEqual({ changes, stamp, probe: undefined, at: 1700000000000 })
  })

  it("names the table where a key cannot be written", () => {
    for (const key of [Number.NaN, null, undefined, [1], new Date(Number.NaN), new Map(), { a: Symbol.iterator }]) {
      const head = encode(stamp, [{ schema: undefined, table: "people", keys: [1, key] }])
      expect(decode(sent(head))).toMatchObject({ changes: [{ table: "people", keys: "all" }] })
    }
  })

  it("has less than 8,000 bytes, and folds the table with most to say first, and then all", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.tuple(FastCheck.string({ unit: "binary", maxLength: 100 }), FastCheck.nat(1000)), {
          maxLength: 120
        }),
        (tables) => {
          const changes = tables.map(([table, count]) => ({
            schema: undefined,
            table,
            keys: Array.from({ length: count }, (_, n) => `ü${n}`)
          }))
          const payload = sent(encode(stamp, changes))
          const message = decode(payload)
          expect(new TextEncoder().encode(payload).length).toBeLessThan(8000)
          expect("problem" in message).toBe(false)
          if ("problem" in message || message.changes === "all") return
          message.changes.forEach((change, place) => {
            expect(change.table).toBe(changes[place]?.table)
            if (change.keys !== "all") expect(change.keys).toEqual(changes[place]?.keys)
          })
        }
      ),
      { numRuns: 25 }
    )
    // However many tables there are, each is looked at a few times and not once for each that is folded.
    const wide = Array.from({ length: 300 }, (_, n) => ({
      schema: undefined,
      table: `t${n}`,
      keys: Array.from({ length: 20 + (n % 7) }, (_, key) => key)
    }))
    const stringify = vi.spyOn(JSON, "stringify")
    const head = encode(stamp, wide)
    expect(stringify.mock.calls.length).toBeLessThan(1000)
    stringify.mockRestore()
    const told = decode(sent(head))
    const kept = "problem" in told || told.changes === "all" ? [] : told.changes
    expect(kept.map(({ table }) => table)).toEqual(wide.map(({ table }) => table))
    const sizes = (isKept: boolean) =>
      wide.filter((_, n) => (kept[n]?.keys !== "all") === isKept).map(({ keys }) => keys.length)
    expect(sizes(true).length).toBeGreaterThan(0)
    expect(Math.max(...sizes(true))).toBeLessThanOrEqual(Math.min(...sizes(false)))
    const few = { schema: undefined, table: "few", keys: [1] }
    const many = { schema: undefined, table: "many", keys: Array.from({ length: 3000 }, (_, n) => n) }
    expect(decode(sent(encode(stamp, [few, many])))).toMatchObject({ changes: [few, { keys: "all" }] })
    const long = Array.from({ length: 200 }, (_, n) => ({ schema: undefined, table: "x".repeat(60) + n, keys: [1] }))
    expect(decode(sent(encode(stamp, long)))).toMatchObject({ changes: "all" })
  })

  it("is filled to the last byte that PostgreSQL takes, and not one further", () => {
    const sizes = new Set<number>()
    for (let length = 7800; length < 8000; length += 1) {
      const payload = sent(encode(stamp, [{ schema: undefined, table: "t", keys: ["x".repeat(length)] }]))
      sizes.add(payload.length)
    }
    expect(Math.max(...sizes)).toBeLessThan(8000)
    expect(Math.max(...sizes)).toBeGreaterThan(7980)
  })

  it("is never a crash, whatever comes", () => {
    FastCheck.assert(FastCheck.property(FastCheck.string(), (text) => "problem" in decode(text) || true))
    FastCheck.assert(
      FastCheck.property(FastCheck.json(), (text) => {
        expect(decode(text)).toBeTypeOf("object")
      })
    )
    expect(decode(encodeProbe(stamp, 4))).toMatchObject({ changes: [], probe: 4 })
    expect(decode('{"v":2}')).toEqual({ problem: "is of version 2, and this program reads version 1" })
    expect(decode('{"v":1,"t":0}')).toMatchObject({ changes: "all", stamp: undefined })
    expect(decode('{"v":1,"t":[],"s":"x"}')).toEqual({ problem: "has no a sender where one should be" })
  })
})

describe("the ledger and the attendance", () => {
  /** What a sender with several transactions at a time sends: begins and ends in some order; delivered are those that were committed, as of their commit. */
  const scenario = FastCheck.array(FastCheck.tuple(FastCheck.nat(4), FastCheck.boolean()), { maxLength: 60 }).map(
    (steps) => {
      const ledger = new Ledger("s")
      const open: Array<ReturnType<Ledger["stamp"]>> = []
      const delivered: Array<ReturnType<Ledger["stamp"]>> = []
      for (const [which, kept] of steps) {
        const one = open[which]
        if (one === undefined) {
          open.push(ledger.stamp(ledger.next()))
          continue
        }
        open.splice(which, 1)
        if (kept) delivered.push(one)
        ledger.settle(one.number ?? 0, kept ? "committed" : "rolledBack")
      }
      return { delivered, end: ledger.stamp(undefined), open }
    }
  )

  it("find no gap where there is none", () => {
    FastCheck.assert(
      FastCheck.property(scenario, ({ delivered, end }) => {
        const attendance = new Attendance()
        attendance.misses({ sender: "s", number: undefined, closed: 0, committed: 0 })
        expect([...delivered, end].filter((one) => attendance.misses(one))).toEqual([])
      }),
      { numRuns: 500 }
    )
  })

  it("find each gap by the probe after it at the latest, if nothing before it is still open", () => {
    FastCheck.assert(
      FastCheck.property(scenario, FastCheck.nat(), ({ delivered, end, open }, which) => {
        FastCheck.pre(open.length === 0 && delivered.length > 0)
        const attendance = new Attendance()
        attendance.misses({ sender: "s", number: undefined, closed: 0, committed: 0 })
        const lost = which % delivered.length
        const heard = [...delivered.filter((_, place) => place !== lost), end]
        expect(heard.filter((one) => attendance.misses(one)).length).toBe(1)
      }),
      { numRuns: 500 }
    )
  })

  it("take an unknown end for a commit, and what is heard of it for news", () => {
    const ledger = new Ledger("s")
    ledger.settle(ledger.next(), "unknown")
    expect(ledger.stamp(2)).toEqual({ sender: "s", number: 2, closed: 1, committed: 1 })
    expect([ledger.isNews(1), ledger.isNews(1), ledger.isNews(undefined)]).toEqual([true, false, false])
  })

  it("count what becomes too much as a gap, and keep no sender for ever", () => {
    const attendance = new Attendance()
    const missed: Array<number> = []
    for (let n = 1; n <= 10_010; n += 1)
      if (attendance.misses({ sender: "s", number: n, closed: 0, committed: 0 })) missed.push(n)
    expect(missed).toEqual([10_001])
  })
})

describe("the hub", () => {
  const subscriber = (events: Array<string>) => ({
    forget: () => events.push("forget"),
    forgetAll: () => events.push("forgetAll"),
    bypass: () => {
      events.push("bypass")
      return () => events.push("serve")
    }
  })

  it("holds who subscribed while any feed is blind, and while there is none any more", () => {
    const hub = new Hub()
    const events: Array<string> = []
    const first = { isBlind: true, whileBlind: "bypass" as const }
    hub.subscribe(subscriber(events))
    hub.join(first)
    hub.see(first)
    expect(events.splice(0)).toEqual(["bypass", "forgetAll", "serve"])
    hub.leave(first)
    const second = { isBlind: true, whileBlind: "bypass" as const }
    hub.join(second)
    expect(events.splice(0)).toEqual(["bypass"])
    hub.see(first) // has left
    const late: Array<string> = []
    const end = hub.subscribe(subscriber(late))
    end()
    expect(late).toEqual(["bypass", "serve"])
    hub.see(second)
    expect(events.splice(0)).toEqual(["forgetAll", "serve"])
    const serving = { isBlind: true, whileBlind: "serve" as const }
    hub.join(serving)
    hub.see(serving)
    expect(events).toEqual(["forgetAll"])
  })
})

describe("the listener", () => {
  const setting = (answers: { probes: boolean }) => {
    const events: Array<string> = []
    const refuse = { next: 0 }
    let end: Deferred.Deferred<void> | undefined
    const owner: Owner<"refused"> = {
      open: Effect.acquireRelease(
        Effect.suspend(() => {
          if (refuse.next > 0) {
            refuse.next -= 1
            events.push("refused")
            return Effect.fail("refused" as const)
          }
          events.push("open")
          return Effect.map(Deferred.make<void>(), (ended) => {
            end = ended
            return { ended: Deferred.await(ended), send: (payload: string) => answer(payload) }
          })
        }),
        () => Effect.sync(() => events.push("close"))
      ),
      other: Effect.succeed({ ended: Effect.never, send: (payload: string) => answer(payload) }),
      payload: String,
      see: () => events.push("see"),
      blind: (reason) => events.push(`blind ${typeof reason === "string" ? reason : reason._tag}`),
      every: Duration.seconds(5),
      within: Duration.seconds(2),
      backoff: Schedule.exponential("1 second")
    }
    const listener = new Listener(owner)
    const answer = (payload: string) =>
      Effect.sync(() => {
        events.push(`probe ${payload}`)
        if (answers.probes) listener.heard(Number(payload))
      })
    return {
      events,
      listener,
      refuse,
      drop: Effect.suspend(() => (end ? Deferred.succeed(end, undefined) : Effect.void))
    }
  }

  it.effect("sees when it has heard itself, and asks again every so often", () =>
    Effect.gen(function* () {
      const { events, listener } = setting({ probes: true })
      const first = yield* Deferred.make<void, unknown>()
      const fiber = yield* Effect.fork(listener.run(first as never))
      yield* Deferred.await(first)
      yield* TestClock.adjust("4999 millis")
      expect(events).toEqual(["open", "probe 1", "see"])
      yield* TestClock.adjust("1 millis")
      yield* TestClock.adjust("5 seconds")
      expect(events.splice(0)).toEqual(["open", "probe 1", "see", "probe 2", "probe 3"])
      yield* Fiber.interrupt(fiber)
      expect(events).toEqual(["close"])
    })
  )

  it.effect("is blind at the very end of its patience, and not before; and begins anew, with less and less haste", () =>
    Effect.gen(function* () {
      const answers = { probes: true }
      const { events, listener, refuse } = setting(answers)
      const first = yield* Deferred.make<void, unknown>()
      yield* Effect.fork(listener.run(first as never))
      yield* Deferred.await(first)
      answers.probes = false
      yield* TestClock.adjust("6999 millis")
      expect(events.splice(0)).toEqual(["open", "probe 1", "see", "probe 2"])
      refuse.next = 2
      answers.probes = true
      yield* TestClock.adjust("1 millis")
      expect(events.splice(0)).toEqual(["blind Deaf", "close", "blind Deaf"])
      yield* TestClock.adjust("1 second")
      expect(events.splice(0)).toEqual(["refused", "blind refused"])
      yield* TestClock.adjust("2 seconds")
      expect(events.splice(0)).toEqual(["refused", "blind refused"])
      yield* TestClock.adjust("3999 millis")
      expect(events).toEqual([])
      yield* TestClock.adjust("1 millis")
      expect(events.splice(0)).toEqual(["open", "probe 3", "see"])
    })
  )

  it.effect("notices that its connection has ended, and starts over its backoff when it has seen", () =>
    Effect.gen(function* () {
      const { drop, events, listener } = setting({ probes: true })
      const first = yield* Deferred.make<void, unknown>()
      yield* Effect.fork(listener.run(first as never))
      yield* Deferred.await(first)
      for (let n = 0; n < 3; n += 1) {
        events.length = 0
        yield* drop
        yield* TestClock.adjust("1 second")
        expect(events).toEqual(["close", "blind Lost", "open", `probe ${n + 2}`, "see"])
      }
    })
  )

  it.effect("ends when the first attempt fails, and with what it says, whether it is refused or deaf", () =>
    Effect.gen(function* () {
      const refused = setting({ probes: true })
      refused.refuse.next = 1
      const first = yield* Deferred.make<void, unknown>()
      yield* refused.listener.run(first as never)
      expect(yield* Effect.either(Deferred.await(first))).toEqual(Either.left("refused"))
      const deaf = setting({ probes: false })
      const second = yield* Deferred.make<void, unknown>()
      const fiber = yield* Effect.fork(deaf.listener.run(second as never))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      expect(yield* Effect.either(Deferred.await(second))).toMatchObject({
        left: { _tag: "Deaf", since: "connecting" }
      })
      expect(deaf.events).toEqual(["open", "probe 1", "blind Deaf", "close", "blind Deaf"])
    })
  )
})
