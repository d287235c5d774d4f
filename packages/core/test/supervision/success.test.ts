import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Equal, Exit, Hash, Layer } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import { answerOf, isPlain } from "../../src/supervision/success.js"

const looks = (effect: object): ReadonlyArray<unknown> => [
  Reflect.ownKeys(effect).map((key) => [key, Reflect.get(effect, key)]),
  JSON.stringify(effect),
  String(effect),
  effect.constructor
]

describe("answerOf", () => {
  it("makes what Effect.succeed makes", () => {
    const [ours, theirs] = [answerOf(1), Effect.succeed(1)]
    expect(looks(ours)).toEqual(looks(theirs))
    expect(ours).toStrictEqual(theirs)
    expect([Exit.isExit(ours), Effect.isEffect(ours), Equal.equals(ours, theirs), Equal.equals(theirs, ours)]).toEqual([
      true,
      true,
      true,
      true
    ])
    expect([Equal.equals(ours, answerOf(2)), Hash.hash(ours) === Hash.hash(theirs)]).toEqual([false, true])
  })

  it.effect("is an Effect in every place, and an Exit of the same value", () =>
    Effect.gen(function* () {
      const ours = answerOf(1)
      expect([yield* ours, yield* ours, yield* Effect.map(ours, (n) => n + 1)]).toEqual([1, 1, 2])
      expect(yield* Effect.all([ours, Effect.exit(ours), Effect.fork(ours)])).toMatchObject([1, Exit.succeed(1), {}])
      expect(Exit.match(ours as Exit.Exit<number>, { onSuccess: (n) => n, onFailure: () => "failed" })).toBe(1)
      expect(yield* ours.pipe(Effect.as("piped"))).toBe("piped")
      // Also to who compares what can be iterated by that.
      expect(ours).toStrictEqual(Effect.succeed(1))
      expect(Effect.succeed(1)).toStrictEqual(ours)
      const [first] = ours
      expect([first === undefined, [...ours].length, [...ours].length]).toEqual([false, 1, 1])
      expect([ours, yield* ours]).not.toEqual([Effect.succeed(2), 1])
    })
  )

  it("is a new pass over it for each that asks, as one of Effect's own is", () => {
    for (const one of [answerOf(1), Effect.succeed(1)]) {
      // Left before its end.
      const left = one[Symbol.iterator]()
      left.next()
      const told: Iterator<unknown, unknown, unknown> = one[Symbol.iterator]()
      told.next()
      expect([told.next("told"), told.next("again")]).toEqual([
        { done: true, value: "told" },
        { done: true, value: "again" }
      ])
      const pairs: Array<ReadonlyArray<unknown>> = []
      for (const first of one) for (const second of one) pairs.push([first, second])
      expect([[...one].length, [...one].length, pairs.length]).toEqual([1, 1, 1])
      // Compared with itself, as the argument of a mock is.
      expect(one).toEqual(one)
      expect([one]).toContainEqual(one)
      expect("next" in one).toBe(false)
    }
  })

  it("runs without a fiber around it", () => {
    expect([Effect.runSync(answerOf(1)), Effect.runSyncExit(answerOf(1))]).toEqual([1, Exit.succeed(1)])
    expect(Array.from(answerOf(1)).length).toBe(Array.from(Effect.succeed(1)).length)
  })
})

describe("isPlain", () => {
  it("is a success and nothing more", () => {
    expect([Effect.succeed(1), Exit.succeed(1), answerOf(1)].map(isPlain)).toEqual([true, true, true])
    const more = Object.assign(Effect.succeed(1), { unit: "ms" })
    const derived: object = Object.create(Effect.succeed(1))
    expect([more, derived, Effect.fail(1), Effect.sync(() => 1)].map(isPlain)).toEqual([false, false, false, false])
  })
})

describe("an answer at hand", () => {
  const answers = {
    none: () => Effect.succeed(0),
    one: (n: number) => Effect.succeed(n),
    two: (a: number, b: number) => Effect.succeed(a + b),
    many: (...numbers: ReadonlyArray<number>) => Effect.succeed(numbers.length),
    fails: () => Effect.fail("no"),
    exit: (n: number): Exit.Exit<number> => Exit.succeed(n),
    timed: () => Object.assign(Effect.succeed(1), { unit: "ms" })
  }
  class Answers extends Context.Tag("Answers")<Answers, typeof answers>() {}
  const layer = Layer.succeed(Answers, answers).pipe(
    Supervised.layer({ id: "it" }),
    SupervisionTree.layer({ name: "app" })
  )

  it.scoped("is the same through a handle, however many arguments ask for it", () =>
    Effect.gen(function* () {
      const it = yield* Answers
      const all = [
        yield* it.none(),
        yield* it.one(1),
        yield* it.two(1, 2),
        yield* it.many(1, 2, 3),
        yield* it.many(1, 2, 3, 4)
      ]
      expect(all).toEqual([0, 1, 3, 3, 4])
      expect(yield* Effect.flip(it.fails())).toBe("no")
      expect([Equal.equals(it.exit(1), Exit.succeed(1)), Exit.isExit(it.exit(1))]).toEqual([true, true])
    }).pipe(Effect.provide(layer))
  )

  it.scoped("is taken by a generator without giving way to the run loop", () =>
    Effect.gen(function* () {
      const it = yield* Answers
      // As a generator goes on: with what it was told, which at first is nothing.
      const first = (answer: Effect.Effect<number>) =>
        (answer[Symbol.iterator]() as Iterator<unknown, unknown, unknown>).next(undefined)
      expect([it.none(), it.one(1), it.two(1, 2), it.many(1, 2, 3), it.many(1, 2, 3, 4)].map(first)).toMatchObject(
        [0, 1, 3, 3, 4].map((value) => ({ done: true, value }))
      )
      expect(first(it.timed()).done).toBe(false)
    }).pipe(Effect.provide(layer))
  )

  it.scoped("keeps what its service has put onto it", () =>
    Effect.gen(function* () {
      const timed = (yield* Answers).timed()
      expect([timed.unit, yield* timed]).toEqual(["ms", 1])
    }).pipe(Effect.provide(layer))
  )

  it.scoped("does not give way, as the direct one does not", () =>
    Effect.gen(function* () {
      const it = yield* Answers
      const said: Array<string> = []
      const other = yield* Effect.fork(Effect.sync(() => said.push("other")))
      for (let n = 0; n < 10_000; n += 1) yield* it.one(n)
      said.push("calls")
      yield* other
      expect(said).toEqual(["calls", "other"])
    }).pipe(Effect.provide(layer))
  )
})
