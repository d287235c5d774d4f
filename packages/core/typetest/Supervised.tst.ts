// @effect-diagnostics *:off
import { Context, Effect, type Exit, Layer } from "effect"
import { describe, expect, test } from "tstyche"
import * as Supervised from "../src/supervision/Supervised.js"
import * as SupervisionTree from "../src/supervision/SupervisionTree.js"

class Config extends Context.Tag("Config")<Config, { readonly url: string }>() {}
class Db extends Context.Tag("Db")<Db, { readonly get: Effect.Effect<number> }>() {}
class Http extends Context.Tag("Http")<Http, { readonly port: number }>() {}
class DbError {
  readonly _tag = "DbError"
}

declare const DbLive: Layer.Layer<Db, DbError, Config>
declare const HttpLive: Layer.Layer<Http, never, Db>

describe("Supervised.layer", () => {
  test("keeps services and errors, and requires a supervisor", () => {
    expect(Supervised.layer(DbLive)).type.toBe<Layer.Layer<Db, DbError, Config | Supervised.CurrentSupervisor>>()
    expect(DbLive.pipe(Supervised.layer({ id: "db" }))).type.toBe<
      Layer.Layer<Db, DbError, Config | Supervised.CurrentSupervisor>
    >()
  })

  test("195: does not run without a tree around it", () => {
    const program = Effect.provide(Db, Supervised.layer(Layer.succeed(Db, { get: Effect.succeed(1) })))
    expect(program).type.toBe<
      Effect.Effect<{ readonly get: Effect.Effect<number> }, never, Supervised.CurrentSupervisor>
    >()
    expect(Effect.runPromise).type.not.toBeCallableWith(program)
  })

  test("195: cannot contain another supervised layer", () => {
    const nested = Layer.provide(HttpLive, Supervised.layer(DbLive))
    expect(Supervised.layer).type.not.toBeCallableWith(nested)
    expect(Supervised.layer).type.not.toBeCallableWith(nested, { id: "http" })
    expect(nested.pipe).type.not.toBeCallableWith(Supervised.layer({ id: "http" }))
  })

  test("can contain a tree", () => {
    const inner = Layer.provide(HttpLive, Supervised.layer(DbLive)).pipe(SupervisionTree.layer({ name: "inner" }))
    expect(Supervised.layer(inner)).type.toBe<
      Layer.Layer<Http | SupervisionTree.SupervisionTree, DbError, Config | Supervised.CurrentSupervisor>
    >()
  })

  test("accepts no restart type or option that does not exist", () => {
    expect(Supervised.layer).type.not.toBeCallableWith(DbLive, { restart: "sometimes" })
    expect(Supervised.layer).type.not.toBeCallableWith(DbLive, { nope: true })
  })
})

describe("heartbeat", () => {
  const check = Effect.flatMap(Db, (db) => db.get)
  const every = "1 second"

  test("can use what the layer provides", () => {
    const supervised = Supervised.layer(DbLive, { heartbeat: { check, every } })
    expect(supervised).type.toBe<Layer.Layer<Db, DbError, Config | Supervised.CurrentSupervisor>>()
    expect(DbLive.pipe(Supervised.layer({ id: "db", heartbeat: { check, every } }))).type.toBe<
      Layer.Layer<Db, DbError, Config | Supervised.CurrentSupervisor>
    >()
  })

  test("cannot use anything else", () => {
    expect(Supervised.layer).type.not.toBeCallableWith(HttpLive, { heartbeat: { check, every } })
    expect(HttpLive.pipe).type.not.toBeCallableWith(Supervised.layer({ heartbeat: { check, every } }))
  })
})

describe("SupervisionTree", () => {
  const tree = HttpLive.pipe(
    Supervised.layer({ id: "http" }),
    Layer.provide(Supervised.layer(DbLive, { id: "db" })),
    SupervisionTree.layer({ name: "app" })
  )

  test("layer provides the supervisor and itself", () => {
    expect(tree).type.toBe<Layer.Layer<Http | SupervisionTree.SupervisionTree, DbError, Config>>()
  })

  test("launch and provide fail with SupervisorShutdown", () => {
    expect(SupervisionTree.launch(tree)).type.toBe<
      Effect.Effect<never, DbError | SupervisionTree.SupervisorShutdown, Config>
    >()
    expect(Effect.map(Http, (http) => http.port).pipe(SupervisionTree.provide(tree))).type.toBe<
      Effect.Effect<number, DbError | SupervisionTree.SupervisorShutdown, Config>
    >()
  })

  test("runtime runs what the tree provides, and its exits hold SupervisorShutdown", () => {
    const runtime = SupervisionTree.runtime(Layer.provide(tree, Layer.succeed(Config, { url: "" })))
    expect(runtime.runPromiseExit(Effect.map(Http, (http) => http.port))).type.toBe<
      Promise<Exit.Exit<number, DbError | SupervisionTree.SupervisorShutdown>>
    >()
    expect(runtime.runPromise).type.not.toBeCallableWith(Db)
    expect(SupervisionTree.runtime).type.not.toBeCallableWith(tree)
  })

  test("provide leaves what the tree does not provide", () => {
    expect(Effect.zipRight(Http, Db).pipe(SupervisionTree.provide(tree))).type.toBe<
      Effect.Effect<{ readonly get: Effect.Effect<number> }, DbError | SupervisionTree.SupervisorShutdown, Config | Db>
    >()
  })
})
