import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Equal, Layer, Ref, Stream } from "effect"
import { viewOf } from "../../src/supervision/carrier.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

interface Db {
  readonly url: string
  readonly query: () => Effect.Effect<number>
}
const Db = Context.GenericTag<Db>("Db")
const Call = Context.GenericTag<(() => number) & { readonly x?: number }>("Call")
const Answer = Context.GenericTag<Effect.Effect<number>>("Answer")
const Numbers = Context.GenericTag<Stream.Stream<number>>("Numbers")
const Counter = Context.GenericTag<Ref.Ref<number>>("Counter")

const child = <I, S>(tag: Context.Tag<I, S>, service: S) =>
  Layer.effect(
    tag,
    Effect.sync(() => service)
  ).pipe(Supervised.layer({ id: tag.key }))
const app = Layer.mergeAll(
  child(Db, { url: "db:1", query: () => Effect.succeed(1) }),
  child(
    Call,
    Object.assign(() => 2, { x: 3 })
  ),
  child(Answer, Effect.succeed(4)),
  child(Numbers, Stream.make(5)),
  child(Counter, Ref.unsafeMake(6))
).pipe(SupervisionTree.layer({ name: "app" }))
type App = Layer.Layer.Success<typeof app>

/** Runs an effect as a reader, and answers with the paths of what it has read, in order. */
const reading = <A, E>(effect: Effect.Effect<A, E, App>) =>
  Effect.flatMap(Effect.context<App>(), (context) => {
    const read: Array<string> = []
    const view = viewOf(context, (slot) => read.push(slot.path))
    return Effect.as(Effect.provide(effect, view), read)
  })

describe("viewOf", () => {
  it.scoped("tells nothing of services that are only taken from the context, looked at or compared", () =>
    Effect.gen(function* () {
      const taken = Effect.all([Db, Call, Answer, Numbers, Counter])
      expect(yield* reading(taken)).toEqual([])
      const looked = Effect.map(taken, ([db, call]) => ["url" in db, Effect.isEffect(call), db instanceof Map])
      expect(yield* reading(Effect.flatMap(looked, Effect.succeed))).toEqual([])
      expect(yield* reading(Effect.zipWith(Db, Db, Equal.equals))).toEqual([])
    }).pipe(Effect.provide(app))
  )

  const uses: ReadonlyArray<readonly [string, Effect.Effect<unknown, never, App>, string]> = [
    ["a member is read", Effect.map(Db, (db) => db.url), "Db"],
    ["a method is taken", Effect.map(Db, ({ query }) => query), "Db"],
    ["it is spread", Effect.map(Db, (db) => ({ ...db })), "Db"],
    ["it is called", Effect.map(Call, (call) => call()), "Call"],
    ["a member of a function is read", Effect.map(Call, (call) => call.x), "Call"],
    ["it is run", Effect.flatten(Answer), "Answer"],
    ["its stream is run", Effect.flatMap(Numbers, Stream.runDrain), "Numbers"],
    ["it is asked for itself", Supervised.current(Counter), "Counter"]
  ]
  for (const [use, effect, key] of uses) {
    it.scoped(`tells once of a service when ${use}`, () =>
      Effect.gen(function* () {
        const read = yield* reading(Effect.zipRight(effect, effect))
        expect(new Set(read)).toEqual(new Set([`app/${key}`]))
        if (key !== "Counter") expect(read).toHaveLength(1)
      }).pipe(Effect.provide(app))
    )
  }

  it.scoped("is each reader's own, and good after a restart", () =>
    Effect.gen(function* () {
      const context = yield* Effect.context<App>()
      const read: Array<string> = []
      const [a, b] = ["a", "b"].map((reader) => viewOf(context, (slot) => read.push(`${reader} ${slot.path}`)))
      const db = Context.get(a ?? context, Db)
      expect([Context.get(context, Db).url, yield* db.query()]).toEqual(["db:1", 1])
      expect(read).toEqual(["a app/Db"])
      expect(Context.get(b ?? context, Db).url).toBe("db:1")
      expect(read).toEqual(["a app/Db", "b app/Db"])
      yield* TestSupervision.crash("app/Db")
      yield* TestSupervision.awaitRestart("app/Db")
      expect(yield* db.query()).toBe(1)
    }).pipe(Effect.provide(app))
  )

  it.scoped("tells the reader around it, too, when it is a view of a view", () =>
    Effect.gen(function* () {
      const read: Array<string> = []
      const outer = viewOf(yield* Effect.context<App>(), (slot) => read.push(`outer ${slot.path}`))
      const inner = viewOf(outer, (slot) => read.push(`inner ${slot.path}`))
      expect(read).toEqual([])
      yield* Effect.provide(
        Effect.zip(
          Effect.map(Db, (db) => db.url),
          Supervised.current(Counter)
        ),
        inner
      )
      expect(read).toEqual(["outer app/Db", "inner app/Db", "outer app/Counter", "inner app/Counter"])
    }).pipe(Effect.provide(app))
  )

  it.scoped("leaves a service alone that was provided over a supervised one", () =>
    Effect.gen(function* () {
      const mine: Db = { url: "mine", query: () => Effect.succeed(0) }
      const context = Context.add(yield* Effect.context<App>(), Db, mine)
      const view = viewOf(context, () => expect.unreachable())
      expect(Context.get(view, Db)).toBe(mine)
    }).pipe(Effect.provide(app))
  )
})
