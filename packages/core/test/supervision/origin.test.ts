import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Effectable, Exit, Fiber, Layer, Option } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

/** Knows its answer, or has to do something for it. */
class Question extends Effectable.Class<string> {
  constructor(
    readonly known: string | undefined,
    readonly effect: Effect.Effect<string>,
    readonly origin?: Supervised.Origin,
    readonly argument?: unknown
  ) {
    super()
  }
  [Supervised.OriginTypeId](origin: Supervised.Origin, argument: unknown): Question | undefined {
    return this.origin === undefined ? new Question(this.known, this.effect, origin, argument) : undefined
  }
  override commit(): Effect.Effect<string> {
    const { argument, effect, known, origin } = this
    if (known !== undefined && origin?.isCurrent !== false) return Effect.succeed(known)
    const own = known === undefined ? effect : Effect.succeed(known)
    return origin === undefined ? own : origin.guard(own, argument)
  }
}

interface It {
  readonly ask: (about?: string) => Question
  readonly wait: () => Question
}
const It = Context.GenericTag<It>("It")

const service = (number: number, gate: Effect.Effect<unknown>): It => ({
  ask: (...about) => new Question(`${number}:${about.length === 0 ? "nothing" : about[0]}`, Effect.never),
  wait: () => new Question(undefined, Effect.as(gate, `${number}:late`))
})

const child = (gate: Effect.Effect<unknown> = Effect.never, second: Effect.Effect<unknown> = Effect.void) => {
  let instances = 0
  return Layer.effect(
    It,
    Effect.suspend(() => {
      const number = ++instances
      return Effect.as(number > 1 ? second : Effect.void, service(number, gate))
    })
  ).pipe(Supervised.layer({ id: "it" }))
}

const tree = SupervisionTree.layer({ name: "app" })
const crash = TestSupervision.crash("app/it")
const restart = Effect.zipRight(crash, TestSupervision.awaitRestart("app/it"))

/** Has every member that it is asked for, as the client of a remote service does that knows no names, and writes down its calls. */
const anything = <F extends object>(target: F, calls: Array<string>) =>
  new Proxy(target, {
    get: (_, name) => (name === "prototype" ? undefined : () => Effect.sync(() => void calls.push(String(name))))
  })

describe("what has a member of any name", () => {
  interface Remote {
    readonly of: (name: string) => { readonly save: () => Effect.Effect<void> }
    readonly send: (what: string) => Effect.Effect<string>
  }
  const Remote = Context.GenericTag<Remote>("Remote")

  it.scoped("is not asked to take the origin of a call, as a function or as what one returns", () => {
    const calls: Array<string> = []
    const remote = Layer.sync(Remote, () => ({
      of: (_name) => anything({ save: () => Effect.void }, calls),
      send: anything((what: string) => Effect.succeed(what), calls)
    })).pipe(Supervised.layer({ id: "it" }))
    return Effect.gen(function* () {
      const it = yield* Remote
      expect(yield* it.send("a")).toBe("a")
      yield* it.of("people").save()
      expect(calls).toEqual(["save"])
    }).pipe(Effect.provide(tree(remote)))
  })
})

describe("an Effect that takes its origin", () => {
  it.scoped("is what the handle answers with, and answers by itself while its instance lives", () =>
    Effect.gen(function* () {
      const it = yield* It
      const question = it.ask("a")
      expect(question).toBeInstanceOf(Question)
      expect([question.origin?.isCurrent, question.argument]).toEqual([true, "a"])
      expect([yield* question, yield* question, yield* it.ask()]).toEqual(["1:a", "1:a", "1:nothing"])
    }).pipe(Effect.provide(tree(child())))
  )

  it.scoped("is asked of the next instance with the same arguments when it is kept over a restart", () =>
    Effect.gen(function* () {
      const it = yield* It
      const [some, none] = [it.ask("a"), it.ask()]
      const piped = Effect.map(some, (text) => `<${text}>`)
      yield* restart
      expect(some.origin?.isCurrent).toBe(false)
      expect([yield* some, yield* none, yield* piped]).toEqual(["2:a", "2:nothing", "<2:a>"])
    }).pipe(Effect.provide(tree(child())))
  )

  it.scoped("waits while the child is down, whether it knows the answer or not", () =>
    Effect.gen(function* () {
      const up = yield* Deferred.make<void>()
      yield* Effect.gen(function* () {
        const it = yield* It
        const kept = it.ask("a")
        yield* crash
        const waiting = yield* Effect.fork(Effect.all([kept, it.ask("b")]))
        yield* Effect.yieldNow()
        expect(waiting.unsafePoll()).toBe(null)
        yield* Deferred.succeed(up, undefined)
        expect(yield* Fiber.join(waiting)).toEqual(["2:a", "2:b"])
      }).pipe(Effect.provide(tree(child(Effect.never, Deferred.await(up)))))
    })
  )

  it.scoped("dies with InstanceDied when its instance does before it has the answer", () =>
    Effect.gen(function* () {
      const it = yield* It
      const asking = yield* Effect.fork(it.wait())
      yield* Effect.yieldNow()
      yield* restart
      const exit = yield* Fiber.await(asking)
      const defect = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.dieOption(exit.cause)) : undefined
      expect(defect).toBeInstanceOf(Supervised.InstanceDied)
    }).pipe(Effect.provide(tree(child())))
  )

  it.scoped("is wrapped by a handle around the handle that it has its origin from", () =>
    Effect.gen(function* () {
      const it = yield* It
      const kept = it.ask("a")
      expect(yield* kept).toBe("1:a")
      yield* TestSupervision.crash("app/outer/it")
      yield* TestSupervision.awaitRestart("app/outer/it")
      expect([yield* kept, yield* it.ask("a")]).toEqual(["2:a", "2:a"])
      yield* TestSupervision.crash("app/outer")
      yield* TestSupervision.awaitRestart("app/outer")
      expect([yield* kept, yield* it.ask("a")]).toEqual(["3:a", "3:a"])
    }).pipe(Effect.provide(tree(Supervised.layer(SupervisionTree.layer()(child()), { id: "outer" }))))
  )
})

describe("a function that takes the origin of its calls", () => {
  interface Named {
    readonly ask: (about?: string) => Question
  }
  const Named = Context.GenericTag<Named>("Named")
  /** For "x" its method has no answer. */
  const layer = (called: Array<string | undefined>, members: object = {}) => {
    let instances = 0
    const make = (): Named => {
      const number = ++instances
      const ask = (about?: string): Question => {
        called.push(about)
        return new Question(`${number}:${about}`, Effect.never)
      }
      const take = (origin: Supervised.Origin, about: unknown) =>
        about === "x" ? undefined : new Question(`${number}:${about}`, Effect.never, origin, about)
      return { ask: Object.assign(ask, { [Supervised.OriginTypeId]: take }, members) }
    }
    return Layer.sync(Named, make).pipe(Supervised.layer({ id: "it" }))
  }

  it.scoped("is not called itself with one argument, also after a restart, unless that answers with nothing", () => {
    const called: Array<string | undefined> = []
    return Effect.gen(function* () {
      const it = yield* Named
      const kept = it.ask("a")
      expect([yield* kept, kept.origin?.isCurrent, ...called]).toEqual(["1:a", true])
      expect([yield* it.ask("x"), yield* it.ask()]).toEqual(["1:x", "1:undefined"])
      expect(called).toEqual(["x", undefined])
      yield* restart
      expect([kept.origin?.isCurrent, yield* it.ask("b"), yield* kept]).toEqual([false, "2:b", "2:a"])
    }).pipe(Effect.provide(tree(layer(called))))
  })

  it.scoped("is asked by the handle around its handle, also with members of its own", () =>
    Effect.gen(function* () {
      const it = yield* Named
      const kept = it.ask("a")
      expect(yield* kept).toBe("1:a")
      yield* TestSupervision.crash("app/outer/it")
      yield* TestSupervision.awaitRestart("app/outer/it")
      expect(yield* kept).toBe("2:a")
    }).pipe(Effect.provide(tree(Supervised.layer(SupervisionTree.layer()(layer([], { more: 1 })), { id: "outer" }))))
  )
})
