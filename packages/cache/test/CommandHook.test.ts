import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { type Cause, Context, Deferred, Effect, Exit, Fiber, Logger, LogLevel, Option, Ref } from "effect"

interface Person {
  readonly id: number
  readonly name: string
}

class People extends Context.Tag("test/People")<
  People,
  { readonly find: (id: number) => Effect.Effect<Option.Option<Person>> }
>() {}

class PeopleCache extends Context.Tag("test/PeopleCache")<PeopleCache, Cache.Cache<number, Person>>() {}

/** What a command is, without the cache it ran on. */
const show = ({ cache: _, ...command }: Cache.Before<string, number, never> | Cache.After<string, number, never>) =>
  command

describe("a read-through by hook", () => {
  const program = Effect.gen(function* () {
    const rows = new Map<number, Person>()
    const selects: Array<number> = []
    const lines: Array<string> = []
    const people = People.of({
      find: (id) =>
        Effect.sync(() => {
          selects.push(id)
          return Option.fromNullable(rows.get(id))
        })
    })
    const PeopleCacheLive = Cache.layer(PeopleCache, {
      name: "people",
      hooks: [
        Cache.replace("get", ({ cache, key, result }) =>
          Option.isSome(result)
            ? Effect.succeed(result)
            : Effect.logDebug(`Try to retrieve key {people, ${key}} from database`).pipe(
                Effect.zipRight(Effect.flatMap(People, (people) => people.find(key))),
                Effect.tap(Option.match({ onNone: () => Effect.void, onSome: (person) => cache.put(key, person) }))
              )
        )
      ]
    })
    const provide = <A, E>(effect: Effect.Effect<A, E, PeopleCache>) =>
      effect.pipe(
        Effect.provide(PeopleCacheLive),
        Effect.provideService(People, people),
        Effect.provide(
          Logger.replace(
            Logger.defaultLogger,
            Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${String(message)}`))
          )
        ),
        Logger.withMinimumLogLevel(LogLevel.Debug)
      )
    return { rows, selects, lines, provide }
  })

  it.effect("asks the database for what the cache does not have, keeps what it finds, and says so", () =>
    Effect.gen(function* () {
      const { lines, provide, rows, selects } = yield* program
      yield* provide(
        Effect.gen(function* () {
          const cache = yield* PeopleCache
          expect(yield* cache.get(1)).toEqual(Option.none())
          expect(yield* cache.get(1)).toEqual(Option.none())
          const ada = { id: 1, name: "Ada" }
          rows.set(1, ada)
          expect(yield* cache.get(1)).toEqual(Option.some(ada))
          expect(yield* cache.get(1)).toEqual(Option.some(ada))
          rows.set(1, { id: 1, name: "Grace" })
          expect(yield* cache.get(1)).toEqual(Option.some(ada))
          // Only `get` falls back, and `fetch`, which is one.
          expect(yield* cache.getOption(2)).toEqual(Option.none())
          expect(yield* cache.has(2)).toBe(false)
          expect(yield* Effect.flip(cache.fetch(2))).toEqual(new Cache.NotCached({ cache: "people", key: 2 }))
        })
      )
      expect(selects).toEqual([1, 1, 1, 2])
      expect(lines).toEqual([1, 1, 1, 2].map((id) => `DEBUG Try to retrieve key {people, ${id}} from database`))
    })
  )
})

describe("before and after", () => {
  it.scoped("see each command with its arguments, and its result afterwards", () =>
    Effect.gen(function* () {
      const events: Array<unknown> = []
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        hooks: [
          Cache.before((command) => Effect.sync(() => void events.push(["before", show(command)]))),
          Cache.after((command) => Effect.sync(() => void events.push(["after", show(command)])))
        ]
      })
      const none = Option.none<number>()
      for (const [command, result, ask] of [
        [{ action: "get", key: "a" }, none, cache.get("a")],
        [{ action: "put", key: "a", value: 1 }, undefined, cache.put("a", 1)],
        [{ action: "get", key: "a" }, Option.some(1), cache.get("a")],
        [{ action: "getOption", key: "a" }, Option.some(1), cache.getOption("a")],
        [{ action: "getOrLoad", key: "b" }, 2, cache.getOrLoad("b", Effect.succeed(2))],
        [{ action: "has", key: "b" }, true, cache.has("b")],
        [{ action: "putIfAbsent", key: "b", value: 3 }, false, cache.putIfAbsent("b", 3)],
        [{ action: "update", key: "b" }, Option.some(4), cache.update("b", () => Option.some(4))],
        [{ action: "getAndUpdate", key: "b" }, Option.some(4), cache.getAndUpdate("b", (value) => value)],
        [{ action: "getAndUpdate", key: "c" }, none, cache.getAndUpdate("c", () => Option.some(5))],
        [{ action: "take", key: "c" }, Option.some(5), cache.take("c")],
        [{ action: "touch", key: "b" }, true, cache.touch("b")],
        [{ action: "ttl", key: "c" }, none, cache.ttl("c")],
        [{ action: "expire", key: "b" }, true, cache.expire("b", "1 hour")],
        [{ action: "keys" }, ["a", "b"], cache.keys],
        [
          { action: "entries" },
          [
            ["a", 1],
            ["b", 4]
          ],
          cache.entries
        ],
        [{ action: "deleteAll", keys: ["c", "d"] }, 0, cache.deleteAll(["c", "d"])],
        [{ action: "size" }, 2, cache.size],
        [{ action: "delete", key: "b" }, true, cache.delete("b")],
        [{ action: "delete", key: "a" }, true, Effect.as(Effect.void.pipe(cache.evicting("a")), true)],
        [{ action: "clear" }, undefined, cache.clear]
      ] as const) {
        expect(yield* ask as Effect.Effect<unknown>).toEqual(result)
        expect(events.splice(0)).toEqual([
          ["before", command],
          ["after", { ...command, result }]
        ])
      }
    })
  )

  it.scoped("run in the order given, the caller waiting", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const note = (event: string) => () =>
        Effect.zipRight(
          Effect.yieldNow(),
          Effect.sync(() => void events.push(event))
        )
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        hooks: [
          Cache.after(note("after 1")),
          Cache.before(note("before 1")),
          Cache.after(note("after 2")),
          Cache.before(note("before 2"))
        ]
      })
      yield* cache.get("a")
      events.push("the caller goes on")
      expect(events).toEqual(["before 1", "before 2", "after 1", "after 2", "the caller goes on"])
    })
  )

  it.scoped("what an after hook answers changes nothing", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        hooks: [Cache.after(() => Effect.asVoid(Effect.succeed("hello")))]
      })
      expect(yield* cache.get("foo")).toEqual(Option.none())
    })
  )

  it.scoped("a before hook that dies ends the command before it has done anything", () =>
    Effect.gen(function* () {
      const armed = yield* Ref.make(true)
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        hooks: [
          Cache.before(() => Effect.flatMap(Ref.get(armed), (armed) => (armed ? Effect.die("boom") : Effect.void)))
        ]
      })
      expect(yield* Effect.exit(cache.put("a", 1))).toEqual(Exit.die("boom"))
      yield* Ref.set(armed, false)
      expect(yield* cache.has("a")).toBe(false)
    })
  )

  it.scoped("after hooks do not run when the command failed", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const cache = yield* Cache.make<string, number, "refused">({
        name: "numbers",
        lookup: () => Effect.fail("refused" as const),
        hooks: [Cache.after((command) => Effect.sync(() => void events.push(command.action)))]
      })
      expect(yield* Effect.flip(cache.get("a"))).toBe("refused")
      expect(events).toEqual([])
    })
  )
})

describe("forked hooks", () => {
  it.scoped("are not waited for, see the same, and touch nobody when they die", () =>
    Effect.gen(function* () {
      const events: Array<unknown> = []
      const gate = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const cache = yield* Cache.make<string, string>({
        name: "numbers",
        hooks: [
          Cache.before(() => Effect.die("boom"), { mode: "fork" }),
          Cache.after(
            (command) =>
              command.action === "put"
                ? Effect.zipRight(
                    Deferred.await(gate),
                    Effect.sync(() => void events.push([command.key, command.value]))
                  ).pipe(Effect.zipRight(Deferred.succeed(done, undefined)))
                : Effect.void,
            { mode: "fork" }
          )
        ]
      })
      yield* cache.put("foo", "bar")
      expect(events).toEqual([])
      expect(yield* cache.get("foo")).toEqual(Option.some("bar"))
      yield* Deferred.succeed(gate, undefined)
      yield* Deferred.await(done)
      expect(events).toEqual([["foo", "bar"]])
    })
  )

  it.effect("are interrupted with the cache", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      yield* Effect.scoped(
        Effect.gen(function* () {
          const cache = yield* Cache.make<string, number>({
            name: "numbers",
            hooks: [
              Cache.after(
                () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void events.push("interrupted"))),
                { mode: "fork" }
              )
            ]
          })
          yield* cache.get("a")
        })
      )
      expect(events).toEqual(["interrupted"])
    })
  )
})

describe("replace", () => {
  it.scoped("answers in the command's place, and later hooks see the answer", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const cache = yield* Cache.make<string, string>({
        name: "greetings",
        hooks: [
          Cache.replace("get", ({ result }) => Effect.succeed(Option.orElseSome(result, () => "hello"))),
          Cache.replace("get", ({ result }) => Effect.succeed(Option.map(result, (value) => value.toUpperCase()))),
          Cache.after((command) => Effect.sync(() => void seen.push("result" in command ? command.result : undefined)))
        ]
      })
      expect(yield* cache.get("foo")).toEqual(Option.some("HELLO"))
      yield* cache.put("foo", "bar")
      expect(yield* cache.get("foo")).toEqual(Option.some("BAR"))
      expect(seen).toEqual([Option.some("HELLO"), undefined, Option.some("BAR")])
    })
  )

  it.scoped(
    "that falls back by getOrLoad brings nothing back that was replaced meanwhile; what it reads and puts itself may be",
    () =>
      Effect.gen(function* () {
        const kept: Array<unknown> = []
        for (const form of ["getOrLoad", "put"] as const) {
          const rows = new Map([[1, "old"]])
          const read = yield* Deferred.make<void>()
          const gate = yield* Deferred.make<void>()
          const find = (id: number) =>
            Effect.gen(function* () {
              const row = Option.fromNullable(rows.get(id))
              yield* Deferred.succeed(read, undefined)
              yield* Deferred.await(gate)
              return yield* row
            })
          const cache = yield* Cache.make<number, string, Cause.NoSuchElementException>({
            name: "rows",
            hooks: [
              Cache.replace("get", ({ cache, key, result }) =>
                Option.isSome(result)
                  ? Effect.succeed(result)
                  : Effect.optionFromOptional(
                      form === "getOrLoad"
                        ? cache.getOrLoad(key, find(key))
                        : Effect.tap(find(key), (row) => cache.put(key, row))
                    )
              )
            ]
          })
          const reader = yield* Effect.fork(cache.get(1))
          yield* Deferred.await(read)
          yield* Effect.sync(() => rows.set(1, "new")).pipe(cache.evicting(1))
          yield* Deferred.succeed(gate, undefined)
          expect(yield* Fiber.join(reader)).toEqual(Option.some("old"))
          kept.push(Option.getOrUndefined(yield* cache.getOption(1)))
          rows.clear()
          yield* cache.delete(1)
          expect(yield* cache.get(1)).toEqual(Option.none())
        }
        expect(kept).toEqual([undefined, "old"])
      })
  )

  it.scoped("may fail as the command may", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number, "refused">({
        name: "numbers",
        hooks: [Cache.replace("get", () => Effect.fail("refused" as const))]
      })
      expect(yield* Effect.flip(cache.get("a"))).toBe("refused")
    })
  )

  it.scoped("runs with the services the cache was made with", () =>
    Effect.gen(function* () {
      const Source = Context.GenericTag<"Source", number>("Source")
      const cache = yield* Effect.provideService(
        Cache.make<string, number, never, "Source">({
          name: "numbers",
          hooks: [Cache.replace("get", () => Effect.asSome(Source))]
        }),
        Source,
        1
      )
      expect(yield* Effect.provideService(cache.get("a"), Source, 7)).toEqual(Option.some(1))
    })
  )

  it.scoped("of one command leaves the others alone", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        hooks: [Cache.replace("has", () => Effect.succeed(true)), Cache.replace("size", () => Effect.succeed(-1))]
      })
      expect([yield* cache.has("a"), yield* cache.size, yield* cache.get("a")]).toEqual([true, -1, Option.none()])
    })
  )
})

describe("hooks and evicting", () => {
  /** What is logged, as lines. */
  const logged = (lines: Array<string>) =>
    Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${String(message)}`))
    )

  it.scoped("see the delete once the key is gone, with what the cache had", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        hooks: [
          Cache.before((command) =>
            command.action === "delete"
              ? Effect.zipRight(
                  Effect.yieldNow(),
                  Effect.map(command.cache.keys, (keys) => void seen.push(["before", command.key, keys]))
                )
              : Effect.void
          ),
          Cache.after((command) =>
            Effect.sync(() => void (command.action === "delete" && seen.push(["after", command.key, command.result])))
          )
        ]
      })
      yield* cache.put("a", 1)
      yield* Effect.void.pipe(cache.evicting("a"))
      yield* Effect.void.pipe(cache.evicting("a"))
      expect(seen).toEqual([
        ["before", "a", []],
        ["after", "a", true],
        ["before", "a", []],
        ["after", "a", false]
      ])
    })
  )

  it.scoped("a hook that dies neither fails the write nor keeps the key, and is logged", () =>
    Effect.gen(function* () {
      for (const [hook, quiet] of [
        [
          Cache.before<string, number>((command) => (command.action === "delete" ? Effect.die("boom") : Effect.void)),
          false
        ],
        [
          Cache.after<string, number>((command) => (command.action === "delete" ? Effect.die("boom") : Effect.void)),
          false
        ],
        [Cache.replace<string, number, never, never, "delete">("delete", () => Effect.die("boom")), false],
        // One that interrupts itself has said so itself.
        [Cache.after<string, number>((command) => (command.action === "delete" ? Effect.interrupt : Effect.void)), true]
      ] as const) {
        const lines: Array<string> = []
        const cache = yield* Cache.make({ name: "numbers", hooks: [hook] })
        yield* cache.put("a", 1)
        const write = Effect.succeed("written").pipe(cache.evicting("a"))
        expect(yield* write.pipe(Effect.provide(logged(lines)))).toBe("written")
        expect(yield* cache.has("a")).toBe(false)
        expect(lines).toEqual(
          quiet ? [] : ['WARN a hook of cache "numbers" failed after an eviction: the write before it stands']
        )
      }
    })
  )

  it.scoped("a hook that never ends can be interrupted, the key being gone", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const events: Array<string> = []
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        hooks: [
          Cache.after((command) =>
            command.action === "delete"
              ? Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
                  Effect.onInterrupt(() => Effect.sync(() => void events.push("interrupted")))
                )
              : Effect.void
          )
        ]
      })
      yield* cache.put("a", 1)
      const writer = yield* Effect.fork(Effect.void.pipe(cache.evicting("a")))
      yield* Deferred.await(started)
      expect(Exit.isInterrupted(yield* Fiber.interrupt(writer))).toBe(true)
      expect([events, yield* cache.has("a")]).toEqual([["interrupted"], false])
    })
  )

  it.scoped("a writer that was interrupted does not wait for them: they run in the background", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const told = yield* Deferred.make<string>()
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        hooks: [
          Cache.after((command) =>
            command.action === "delete"
              ? Effect.zipRight(Deferred.await(gate), Deferred.succeed(told, command.key))
              : Effect.void
          )
        ]
      })
      const writer = yield* Effect.fork(Effect.never.pipe(cache.evicting("a")))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(writer)
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Deferred.await(told)).toBe("a")
    })
  )
})
