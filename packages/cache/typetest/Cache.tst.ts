import { Cache } from "@effecto/cache"
import { Context, Effect, Either, type Exit, type Layer, Option, type Scope } from "effect"
import { describe, expect, test } from "tstyche"

interface Person {
  readonly name: string
}
class DbError {
  readonly _tag = "DbError"
}
class NoSuch {
  readonly _tag = "NoSuch"
}
class Db extends Context.Tag("Db")<
  Db,
  { readonly find: (id: number) => Effect.Effect<Option.Option<Person>, DbError> }
>() {}
class People extends Context.Tag("People")<People, Cache.Cache<number, Person, DbError>>() {}
declare const people: Cache.Cache<number, Person, DbError>

describe("make", () => {
  test("infers the key, the value, the error and the services from lookup", () => {
    expect(Cache.make({ name: "people", lookup: (id: number) => Effect.flatMap(Db, (db) => db.find(id)) })).type.toBe<
      Effect.Effect<Cache.Cache<number, Person, DbError>, never, Db | Scope.Scope>
    >()
  })

  test("asks lookup for an Option", () => {
    expect(Cache.make<number, Person>).type.not.toBeCallableWith({
      name: "people",
      lookup: (_: number) => Effect.succeed({ name: "Ada" })
    })
  })

  test("does not let lookup fail otherwise than declared", () => {
    expect(Cache.make<number, Person, DbError>).type.not.toBeCallableWith({
      name: "people",
      lookup: (_: number) => Effect.fail(new NoSuch())
    })
  })
})

describe("layer", () => {
  test("takes key, value and error from the tag, and asks for the services of lookup and hooks", () => {
    expect(Cache.layer(People, { name: "people", lookup: (id) => Effect.flatMap(Db, (db) => db.find(id)) })).type.toBe<
      Layer.Layer<People, never, Db>
    >()
    expect(
      Cache.layer(People, {
        name: "people",
        hooks: [
          Cache.replace("get", ({ cache, key, result }) => {
            expect(cache).type.toBe<Cache.Cache<number, Person, DbError>>()
            expect(key).type.toBe<number>()
            expect(result).type.toBe<Option.Option<Person>>()
            return Option.isSome(result) ? Effect.succeed(result) : Effect.flatMap(Db, (db) => db.find(key))
          })
        ]
      })
    ).type.toBe<Layer.Layer<People, never, Db>>()
  })

  test("does not let a hook fail otherwise than the cache", () => {
    expect(Cache.replace<string, number>).type.not.toBeCallableWith("get", () => Effect.fail(new DbError()))
    expect(Cache.replace<string, number, DbError, never, "put">).type.not.toBeCallableWith("put", () =>
      Effect.fail(new DbError())
    )
  })
})

describe("get, fetch, getOption", () => {
  test("answer what may be missing as an Option, and fail with what loads fail with", () => {
    expect(people.get(1)).type.toBe<Effect.Effect<Option.Option<Person>, DbError>>()
    expect(people.fetch(1)).type.toBe<Effect.Effect<Person, DbError | Cache.NotCached>>()
    expect(people.getOption(1)).type.toBe<Effect.Effect<Option.Option<Person>>>()
  })

  test("know their keys", () => {
    expect(people.get).type.not.toBeCallableWith("1")
  })
})

describe("getOrLoad", () => {
  test("asks for the services of its effect", () => {
    expect(people.getOrLoad(1, Effect.as(Db, { name: "Ada" }), "5 minutes")).type.toBe<
      Effect.Effect<Person, DbError, Db>
    >()
  })

  test("lets its effect fail only as the cache's loads do, since others may be waiting for it", () => {
    expect(people.getOrLoad).type.not.toBeCallableWith(1, Effect.fail(new NoSuch()))
  })

  test("takes a lifetime, both kinds of it, or one chosen by the value", () => {
    const person = Effect.succeed({ name: "Ada" })
    expect(people.getOrLoad(1, person, { idle: "1 minute", max: "1 hour" })).type.toBe<Effect.Effect<Person, DbError>>()
    expect(people.getOrLoad(1, person, (loaded) => loaded.name.length)).type.toBe<Effect.Effect<Person, DbError>>()
    expect(people.getOrLoad).type.not.toBeCallableWith(1, person, "soon")
  })
})

describe("put", () => {
  test("takes values of the cache only", () => {
    expect(people.put(1, { name: "Ada" })).type.toBe<Effect.Effect<void>>()
    expect(people.put).type.not.toBeCallableWith(1, "Ada")
  })
})

describe("evicting", () => {
  test("keeps the type of what it is piped after", () => {
    const write: Effect.Effect<Person, NoSuch, Db> = Effect.as(Db, { name: "Ada" })
    expect(write.pipe(people.evicting(1))).type.toBe<Effect.Effect<Person, NoSuch, Db>>()
    expect(people.evicting).type.not.toBeCallableWith("posts")
  })
})

describe("getAll, getEach, lookupAll", () => {
  test("answer each key with its own result", () => {
    expect(people.getAll([1])).type.toBe<Effect.Effect<ReadonlyArray<Option.Option<Person>>, DbError>>()
    expect(people.getEach([1])).type.toBe<Effect.Effect<ReadonlyArray<Exit.Exit<Option.Option<Person>, DbError>>>>()
  })

  test("infer the cache's types as lookup does", () => {
    expect(
      Cache.make({
        name: "people",
        lookupAll: (ids: ReadonlyArray<number>) =>
          Effect.as(
            Db,
            ids.map((id) => [id, Either.right({ name: "Ada" })] as const)
          )
      })
    ).type.toBe<Effect.Effect<Cache.Cache<number, { name: string }>, never, Db | Scope.Scope>>()
  })
})

describe("warm", () => {
  test("may fail, and make with it", () => {
    expect(Cache.layer(People, { name: "people", warm: () => Effect.fail(new NoSuch()) })).type.toBe<
      Layer.Layer<People, NoSuch>
    >()
  })
})
