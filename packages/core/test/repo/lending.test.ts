/** Who gets which connection when, on a pool of three lines: that of `pg` is asked in the tests against PostgreSQL. */
import { EventEmitter } from "node:events"
import { type SqlConnection, SqlError } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { vi } from "vitest"
import { Lending, type Reserved } from "../../src/repo/lending.js"

/** A client of `pg` as far as it is looked at. */
class Client {
  readyForQuery = true
  _queryable = true
  _ending = false
  status = "I"
  readonly connection = Object.assign(new EventEmitter(), { stream: { destroy: () => {} } })
  readonly texts: Array<unknown> = []
  constructor(readonly name: number) {}
  query(text: unknown, _: unknown, done: (error: null, result: unknown) => void) {
    this.texts.push(text)
    this.status = "I"
    done(null, undefined)
  }
  end() {
    return Promise.resolve()
  }
  getTransactionStatus() {
    return this.status
  }
}

type Fake = SqlConnection.Connection & { readonly pg: Client }

/** Lends its connections a tick after it is asked, in turns. */
const poolOf = (size: number) => {
  const idle = Array.from({ length: size }, (_, at): Fake => ({ pg: new Client(at) }) as unknown as Fake)
  const queue: Array<(connection: Fake) => void> = []
  const refusals: Array<(cause: unknown) => void> = []
  const state = { asked: 0, out: 0, refuses: false, arrives: () => {} }
  const pulse = () => {
    while (idle.length > 0 && queue.length > 0) {
      state.out += 1
      queue.shift()?.(idle.pop() as Fake)
    }
  }
  const reserve: SqlConnection.Connection.Acquirer = Effect.flatMap(Effect.scope, (scope) =>
    Effect.flatMap(
      Effect.async<Fake, SqlError.SqlError>((resume) => {
        state.asked += 1
        if (state.refuses) return resume(Effect.fail(new SqlError.SqlError({ cause: undefined, message: "no" })))
        const granted = (connection: Fake) => resume(Effect.succeed(connection))
        queue.push(granted)
        refusals.push((cause) => {
          const place = queue.indexOf(granted)
          if (place < 0) return
          queue.splice(place, 1)
          resume(Effect.fail(new SqlError.SqlError({ cause, message: "nothing was free in time" })))
        })
        process.nextTick(pulse)
      }),
      (connection) =>
        Effect.zipRight(
          Scope.addFinalizer(
            scope,
            Effect.sync(() => {
              state.out -= 1
              idle.push(connection)
              pulse()
            })
          ),
          Effect.sync(() => {
            state.arrives()
            return connection
          })
        )
    )
  )
  /** What it was asked longest ago and has not granted, if it was not refused before, is refused now. */
  const refuse = (count: number, cause?: unknown) => {
    for (const one of refusals.splice(0, count)) one(cause)
  }
  return { state, lending: new Lending(reserve), waiting: () => queue.length, refuse }
}

const turn = Effect.promise(() => new Promise(setImmediate))

/** As everybody takes one: nothing can come between the connection and the promise to give it back. */
const using = <A>(lending: Lending, use: (reserved: Reserved) => Effect.Effect<A>) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(lending.take(restore), (reserved) => Effect.ensuring(restore(use(reserved)), reserved.giveBack))
  )

const nameOf = (lending: Lending) => using(lending, ({ connection }) => Effect.succeed((connection as Fake).pg.name))

/** What the lending takes for the time is the test's to say. */
const stillClock = Effect.acquireRelease(
  Effect.sync(() => vi.spyOn(performance, "now")),
  (now) => Effect.sync(() => now.mockRestore())
)

describe("take", () => {
  it.effect("hands on what was given back in the same turn without asking the pool again", () =>
    Effect.gen(function* () {
      const { lending, state } = poolOf(2)
      const names = yield* Effect.all([nameOf(lending), nameOf(lending), nameOf(lending)])
      expect([names, state.asked]).toEqual([[1, 1, 1], 1])
    })
  )

  it.effect("asks the pool for each of a few who borrow at once", () =>
    Effect.gen(function* () {
      const { lending, state } = poolOf(2)
      const names = yield* Effect.all([nameOf(lending), nameOf(lending), nameOf(lending)], { concurrency: 3 })
      expect(new Set(names).size).toBe(2)
      yield* turn
      expect([state.asked, state.out]).toEqual([3, 0])
    })
  )

  it.effect("fails as the pool does, and whoever comes later is not kept from anything", () =>
    Effect.gen(function* () {
      const { lending, state } = poolOf(1)
      state.refuses = true
      expect((yield* Effect.flip(nameOf(lending))).message).toBe("no")
      state.refuses = false
      expect(yield* Effect.all([nameOf(lending), nameOf(lending)])).toEqual([0, 0])
      expect(state.asked).toBe(2)
    })
  )

  it.effect("passes by a connection that broke while it was kept", () =>
    Effect.gen(function* () {
      const { lending, state } = poolOf(1)
      const first = yield* using(lending, ({ connection }) => Effect.succeed(connection as Fake))
      first.pg._queryable = false
      yield* nameOf(lending)
      expect(state.asked).toBe(2)
    })
  )
})

describe("take, while others wait", () => {
  it.effect("gets what is given back in the order of waiting, and asks the pool for ten of them at a time", () =>
    Effect.gen(function* () {
      const { lending, state, waiting } = poolOf(1)
      const order: Array<number> = []
      let most = 0
      yield* Effect.forEach(
        Array.from({ length: 30 }, (_, at) => at),
        (at) =>
          using(lending, () =>
            Effect.sync(() => {
              order.push(at)
              most = Math.max(most, waiting())
            })
          ),
        { concurrency: "unbounded" }
      )
      expect(order).toEqual(Array.from({ length: 30 }, (_, at) => at))
      expect(most).toBe(10)
      yield* turn
      yield* turn
      expect([state.out, waiting()]).toEqual([0, 0])
    })
  )

  it.effect("fails with all who are there when the pool refuses and nothing goes round", () =>
    Effect.gen(function* () {
      const { lending, state } = poolOf(1)
      state.refuses = true
      const exits = yield* Effect.forEach(Array.from({ length: 30 }), () => Effect.exit(nameOf(lending)), {
        concurrency: "unbounded"
      })
      expect(exits.every(Exit.isFailure)).toBe(true)
      state.refuses = false
      expect(yield* nameOf(lending)).toBe(0)
    })
  )

  it.effect("fails alone where others can be given what goes round", () =>
    Effect.gen(function* () {
      const { lending, state } = poolOf(1)
      const exits = yield* using(lending, () =>
        Effect.gen(function* () {
          state.refuses = true
          const others = yield* Effect.forEach([1, 2, 3], () => Effect.fork(nameOf(lending)))
          yield* turn
          state.refuses = false
          return others
        })
      ).pipe(Effect.flatMap((others) => Effect.forEach(others, Fiber.await)))
      expect(exits.filter(Exit.isFailure).length).toBeGreaterThan(0)
      expect(yield* nameOf(lending)).toBe(0)
    })
  )
})

describe("take, of a pool that gives nothing in time", () => {
  it.effect(
    "fails for everybody as soon as it would if the pool had been asked for each, whatever it was asked for",
    () =>
      Effect.gen(function* () {
        const now = yield* stillClock
        vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
        yield* Effect.addFinalizer(() => Effect.sync(() => vi.useRealTimers()))
        const { lending, refuse, state, waiting } = poolOf(1)
        const failed: Array<number> = []
        const borrow = (at: number) =>
          Effect.fork(Effect.tapError(nameOf(lending), () => Effect.sync(() => failed.push(at))))
        const advance = (time: number) =>
          Effect.suspend(() => {
            now.mockReturnValue(time)
            vi.advanceTimersByTime(200)
            return turn
          })
        yield* using(lending, () =>
          Effect.gen(function* () {
            // That its own asking is not among those to be refused.
            refuse(1)
            now.mockReturnValue(0)
            for (let at = 0; at < 15; at += 1) yield* borrow(at)
            yield* advance(200)
            for (let at = 15; at < 30; at += 1) yield* borrow(at)
            yield* advance(400)
            expect([state.asked, waiting(), failed]).toEqual([11, 10, []])
            // The pool waits for so long.
            now.mockReturnValue(1000)
            refuse(10)
            yield* turn
            expect(failed).toEqual(Array.from({ length: 15 }, (_, at) => at))
            const left = yield* borrow(30)
            yield* advance(1200)
            expect(failed).toEqual(Array.from({ length: 30 }, (_, at) => at))
            expect(vi.getTimerCount()).toBe(0)
            return left
          })
        ).pipe(Effect.flatMap(Fiber.join))
        yield* turn
        expect([failed.length, state.out]).toEqual([30, 0])
      }).pipe(Effect.scoped)
  )
})

describe("take, of a pool that is refused a connection late", () => {
  it.effect("fails for one only, where others can be given what goes round", () =>
    Effect.gen(function* () {
      const now = yield* stillClock
      const { lending, refuse } = poolOf(1)
      now.mockReturnValue(0)
      const others = yield* using(lending, () =>
        Effect.gen(function* () {
          refuse(1)
          const others = yield* Effect.forEach([1, 2, 3], () => Effect.fork(nameOf(lending)))
          yield* turn
          now.mockReturnValue(1000)
          refuse(1, Object.assign(new Error("sorry, too many clients already"), { code: "53300" }))
          yield* turn
          return others
        })
      )
      const exits = yield* Effect.forEach(others, Fiber.await)
      expect(exits.map(Exit.isSuccess)).toEqual([false, true, true])
    }).pipe(Effect.scoped)
  )
})

describe("take, interrupted", () => {
  it.effect("gives back what arrived before the fiber that waited for it could run", () =>
    Effect.gen(function* () {
      const { lending, state } = poolOf(1)
      const fiber = yield* Effect.fork(nameOf(lending))
      state.arrives = () => fiber.unsafeInterruptAsFork(fiber.id())
      expect(Exit.isInterrupted(yield* Fiber.await(fiber))).toBe(true)
      expect([state.asked, state.out]).toEqual([1, 0])
      state.arrives = () => {}
      expect(yield* nameOf(lending)).toBe(0)
    })
  )
})

describe("giveBack", () => {
  it.effect("keeps nothing beyond the turn of the event loop", () =>
    Effect.gen(function* () {
      const { lending, state } = poolOf(2)
      yield* nameOf(lending)
      expect(state.out).toBe(1)
      yield* turn
      expect(state.out).toBe(0)
    })
  )

  it.effect("hands on to somebody who waits", () =>
    Effect.gen(function* () {
      const { lending, state, waiting } = poolOf(1)
      const other = yield* using(lending, () =>
        Effect.gen(function* () {
          const other = yield* Effect.fork(using(lending, () => Effect.succeed(state.out)))
          yield* turn
          expect(waiting()).toBe(1)
          return other
        })
      )
      expect(yield* Fiber.join(other)).toBe(1)
      expect(state.asked).toBe(2)
    })
  )

  it.effect("keeps nothing for somebody who does not wait any more", () =>
    Effect.gen(function* () {
      const { lending, state, waiting } = poolOf(1)
      yield* using(lending, () =>
        Effect.gen(function* () {
          const other = yield* Effect.fork(nameOf(lending))
          yield* turn
          expect(waiting()).toBe(1)
          yield* Fiber.interrupt(other)
        })
      )
      yield* turn
      expect([state.asked, state.out, waiting()]).toEqual([2, 0, 0])
    })
  )

  for (const [what, spoil] of [
    ["has a transaction open", (client: Client) => (client.status = "T")],
    [
      "is not ready yet, which it soon is",
      (client: Client) => {
        client.readyForQuery = false
        setImmediate(() => client.connection.emit("readyForQuery"))
      }
    ],
    [
      "is not ready yet, and never will be",
      (client: Client) => {
        client.readyForQuery = false
        setImmediate(() => client.connection.emit("end"))
      }
    ],
    ["is being closed", (client: Client) => (client._ending = true)]
  ] as const)
    it.effect(`keeps no connection that ${what}`, () =>
      Effect.gen(function* () {
        const { lending, state } = poolOf(1)
        yield* using(lending, ({ connection }) => Effect.sync(() => spoil((connection as Fake).pg)))
        expect(state.out).toBe(0)
      })
    )

  it.effect(
    "rolls back what was left open before anybody gets the connection, also when that is known only a moment later",
    () =>
      Effect.gen(function* () {
        const { lending } = poolOf(1)
        const pg = yield* using(lending, ({ connection }) =>
          Effect.sync(() => {
            const { pg } = connection as Fake
            pg.readyForQuery = false
            setImmediate(() => {
              pg.status = "E"
              pg.readyForQuery = true
              pg.connection.emit("readyForQuery")
            })
            return pg
          })
        )
        expect([pg.texts, pg.status]).toEqual([["rollback"], "I"])
        expect([pg.connection.listenerCount("readyForQuery"), pg.connection.listenerCount("end")]).toEqual([0, 0])
      })
  )

  it.effect("lets the pool see a connection again that has been out for ten milliseconds", () =>
    Effect.gen(function* () {
      const now = yield* stillClock
      const { lending, state } = poolOf(1)
      now.mockReturnValue(1000)
      yield* nameOf(lending)
      now.mockReturnValue(1010)
      yield* nameOf(lending)
      expect([state.asked, state.out]).toEqual([1, 1])
      now.mockReturnValue(1010.1)
      yield* nameOf(lending)
      expect([state.asked, state.out]).toEqual([1, 0])
    }).pipe(Effect.scoped)
  )
})

describe("at every yield point", () => {
  it.effect("no interruption loses a connection", () =>
    Effect.gen(function* () {
      // A slow machine must not let the ten milliseconds pass.
      const now = yield* stillClock
      now.mockReturnValue(1000)
      for (let operations = 10; operations <= 40; operations++)
        for (let yields = 0; yields <= 12; yields++) {
          const { lending, state, waiting } = poolOf(1)
          const borrowers = yield* Effect.forEach([1, 2, 3], () =>
            Effect.fork(
              Effect.withMaxOpsBeforeYield(
                Effect.repeatN(
                  using(lending, () => Effect.yieldNow()),
                  3
                ),
                operations
              )
            )
          )
          for (let each = 0; each < yields; each++) yield* Effect.yieldNow()
          // The first and the last are interrupted, whatever they are about: waiting, working, or giving back.
          const [first, second, third] = borrowers
          for (const fiber of [first, third]) if (fiber !== undefined) yield* Fiber.interrupt(fiber)
          const exit = second === undefined ? undefined : yield* Fiber.await(second)
          expect(exit !== undefined && Exit.isSuccess(exit)).toBe(true)
          yield* turn
          yield* turn
          expect([state.out, waiting()]).toEqual([0, 0])
          // Nobody is thought to wait: what is given back is kept for the next one.
          const before = state.asked
          yield* Effect.all([nameOf(lending), nameOf(lending)])
          expect(state.asked).toBe(before + 1)
        }
    }).pipe(Effect.scoped)
  )
})
