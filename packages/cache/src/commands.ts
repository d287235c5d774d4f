/** A service as what its callers see: the commands, and the hooks around them. */
import * as Supervised from "@effecto/core/Supervised"
import { Duration, Effect, Exit, Option } from "effect"
import type { Cache } from "./Cache.js"
import type { Action, After, Command, Hook, Results } from "./CommandHook.js"
import { evictAfter } from "./evicting.js"
import { type Lifetime, type Span, toSpan } from "./lifetime.js"
import { orNotCached, readsOf } from "./read.js"
import type { Service } from "./service.js"
import type { Slot } from "./slot.js"
import type { Store } from "./store.js"

/** A lifetime that is no function is decoded before the load begins, so that a wrong one is told before any work is done. */
const spanBy = <V>(
  label: string,
  usual: (value: V) => Span,
  lifetime: Lifetime | ((value: V) => Lifetime) | undefined
): ((value: V) => Span) => {
  if (lifetime === undefined) return usual
  if (typeof lifetime === "function") return (value) => toSpan(lifetime(value), label)
  const span = toSpan(lifetime, label)
  return () => span
}

const valueOf = <K, V, E>({ entries }: Store<K, V, E>, held: Slot | undefined): Option.Option<V> =>
  held === undefined ? Option.none() : Option.some(entries.valueOf(held))

/** All values, or else the failure of the first key that has one. */
const everyValue = <V, E>(
  exits: ReadonlyArray<Exit.Exit<Option.Option<V>, E>>
): Effect.Effect<ReadonlyArray<Option.Option<V>>, E> => {
  const values: Array<Option.Option<V>> = []
  for (const exit of exits) {
    if (Exit.isFailure(exit)) return Effect.failCause(exit.cause)
    values.push(exit.value)
  }
  return Effect.succeed(values)
}

export const commandsOf = <K, V, E>(service: Service<K, V, E>, hooks: ReadonlyArray<Hook<K, V, E>>): Cache<K, V, E> => {
  const { name } = service.settings
  const label = `the lifetime given to cache ${JSON.stringify(name)}`
  const reads = readsOf(service)
  const given = (lifetime: Lifetime | undefined) => (lifetime === undefined ? undefined : toSpan(lifetime, label))

  const written = (key: K, value: V, span: Span | undefined, now: number): ((store: Store<K, V, E>) => void) => {
    // The user's functions come first: if one throws, nothing has happened yet.
    const extra = service.extraOf(key, value)
    const chosen = service.jittered(span ?? service.spanOf(key, value))
    return (store) => store.put(key, value, chosen, now, extra)
  }

  /** Another value in the place of what is held, with the lifetime that it has left to it. */
  const changed = (
    store: Store<K, V, E>,
    held: Slot | undefined,
    key: K,
    now: number,
    f: (before: Option.Option<V>) => Option.Option<V>
  ) => {
    // All that is asked of the slot comes before the user's functions, which may change this very cache.
    const before = valueOf(store, held)
    const idle = held === undefined ? undefined : store.entries.idleOf(held)
    const end = held === undefined ? now : store.entries.endOf(held)
    const after = f(before)
    if (Option.isNone(after)) return { before, after, write: (store: Store<K, V, E>) => store.remove(key) }
    const { value } = after
    if (idle === undefined) return { before, after, write: written(key, value, undefined, now) }
    const extra = service.extraOf(key, value)
    const left = { idle, max: end - now }
    return { before, after, write: (store: Store<K, V, E>) => store.put(key, value, left, now, extra) }
  }

  const plain: Cache<K, V, E> = {
    name,
    get: reads.get,
    fetch: reads.fetch,
    getOption: reads.getOption,
    getAll: (keys) => Effect.flatMap(service.loader.all([...keys]), everyValue),
    getEach: (keys) => service.loader.all([...keys]),
    getOrLoad: (key, effect, lifetime, options) =>
      // Sound: the services that the effect asks for are those of the fiber that will run the returned effect.
      reads.getOrLoad(
        key,
        effect as Effect.Effect<V, E>,
        () => spanBy(label, (value) => service.spanOf(key, value), lifetime),
        options?.tags
      ),
    refresh: (key) => Effect.withFiberRuntime((fiber) => service.loader.refresh(fiber, key)),
    put: (key, value, lifetime) =>
      service.modify(key, (_, now) => {
        return [undefined, written(key, value, given(lifetime), now)]
      }),
    putIfAbsent: (key, value, lifetime) =>
      service.modify(key, (held, now) => {
        const chosen = given(lifetime)
        return held === undefined ? [true, written(key, value, chosen, now)] : [false]
      }),
    update: (key, f) =>
      service.modify(key, (held, now, store) => {
        const { after, write } = changed(store, held, key, now, f)
        return [after, write]
      }),
    getAndUpdate: (key, f) =>
      service.modify(key, (held, now, store) => {
        const { before, write } = changed(store, held, key, now, f)
        return [before, write]
      }),
    take: (key) => service.modify(key, (held, _, store) => [valueOf(store, held), (store) => store.remove(key)]),
    delete: (key) => service.remove(key),
    deleteAll: (keys) => service.removeAll(keys),
    clear: service.clear,
    invalidateTag: (tag) => service.invalidateTag(tag),
    has: (key) => service.look(key, (held) => held !== undefined),
    touch: (key) =>
      service.look(key, (held, now, store) => {
        if (held !== undefined) store.touch(held, now)
        return held !== undefined
      }),
    ttl: (key) =>
      service.look(key, (held, now, { entries }) => {
        if (held === undefined) return Option.none()
        const left = entries.deadlineOf(held) - now
        return Option.some(left === Number.POSITIVE_INFINITY ? Duration.infinity : Duration.millis(left))
      }),
    expire: (key, lifetime) =>
      service.modify(key, (held, now) => {
        const chosen = toSpan(lifetime, label)
        return held === undefined ? [false] : [true, (store) => store.retime(held, chosen, now)]
      }),
    size: service.size,
    keys: service.list((slot, _, { entries }) => entries.keyOf(slot)),
    entries: service.list((slot, _, { entries }) => [entries.keyOf(slot), entries.valueOf(slot)] as const),
    contents: service.list((slot, now, store) => {
      const { entries } = store
      const left = entries.deadlineOf(slot) - now
      const max = entries.endOf(slot) - now
      return { key: entries.keyOf(slot), value: entries.valueOf(slot), left, idle: entries.idleOf(slot), max }
    }),
    stats: Effect.flatMap(service.sweeper.size, (size) =>
      service.step((store) => {
        service.meter.read(store)
        const hitAges = store.ages?.list() ?? []
        return { size, weight: store.weight, absences: store.absences.size, hitAges, ...store.counters }
      })
    ),
    events: service.notices.events,
    unsafePeek: (key) => {
      const { store, timeline } = service
      return valueOf(store, store.peek(key, timeline.now(timeline.clock)))
    },
    // The write is the caller's: a crash of the cache must not end it.
    evicting: (key) => (self) => Supervised.detach(evictAfter(service, self, key))
  }
  return hooks.length === 0 ? plain : hooked(service, plain, hooks)
}

const hooked = <K, V, E>(
  service: Service<K, V, E>,
  plain: Cache<K, V, E>,
  hooks: ReadonlyArray<Hook<K, V, E>>
): Cache<K, V, E> => {
  const run = (mode: "sync" | "fork", effect: Effect.Effect<void>): Effect.Effect<void> =>
    mode === "sync" ? service.inline(effect) : Effect.sync(() => service.fork(effect))

  const around = <A extends Action, E2>(
    command: Extract<Command<K, V>, { readonly action: A }>,
    body: Effect.Effect<Results<K, V>[A], E2>
  ): Effect.Effect<Results<K, V>[A], E2> =>
    Effect.gen(function* () {
      for (const hook of hooks) {
        // Sound, here and below: a command of action A beside the fields that this adds is that action's member of the union.
        if (hook._tag === "Before")
          yield* run(
            hook.mode,
            Effect.suspend(() => hook.run({ ...command, cache }))
          )
      }
      let result = yield* body
      for (const hook of hooks) {
        if (hook._tag === "Before") continue
        const done = { ...command, cache, result } as unknown as After<K, V, E, A>
        if (hook._tag === "After")
          yield* run(
            hook.mode,
            Effect.suspend(() => hook.run(done as unknown as After<K, V, E>))
          )
        else if (hook.action === command.action) {
          // Sound: this hook was declared for this very action, so it takes `done`, answers its result and fails as the command may.
          const replace = hook.run as unknown as (command: After<K, V, E, A>) => Effect.Effect<Results<K, V>[A], E2>
          result = yield* service.inline(Effect.suspend(() => replace(done)))
        }
      }
      return result
    })

  const cache: Cache<K, V, E> = {
    name: plain.name,
    get: (key) => around({ action: "get", key }, plain.get(key)),
    fetch: (key) => Effect.flatMap(cache.get(key), orNotCached(plain.name, key)),
    getOption: (key) => around({ action: "getOption", key }, plain.getOption(key)),
    getAll: (some) => {
      const keys = [...some]
      return around({ action: "getAll", keys }, plain.getAll(keys))
    },
    getEach: (some) => {
      const keys = [...some]
      // Sound: a hook that replaces this result keeps to the cache's own error, as its type says.
      return around({ action: "getEach", keys }, plain.getEach(keys)) as ReturnType<typeof plain.getEach>
    },
    getOrLoad: (key, effect, lifetime, options) =>
      around({ action: "getOrLoad", key }, plain.getOrLoad(key, effect as Effect.Effect<V, E>, lifetime, options)), // sound: as in the plain one
    refresh: (key) => around({ action: "refresh", key }, plain.refresh(key)),
    put: (key, value, lifetime) => around({ action: "put", key, value }, plain.put(key, value, lifetime)),
    putIfAbsent: (key, value, lifetime) =>
      around({ action: "putIfAbsent", key, value }, plain.putIfAbsent(key, value, lifetime)),
    update: (key, f) => around({ action: "update", key }, plain.update(key, f)),
    getAndUpdate: (key, f) => around({ action: "getAndUpdate", key }, plain.getAndUpdate(key, f)),
    take: (key) => around({ action: "take", key }, plain.take(key)),
    delete: (key) => around({ action: "delete", key }, plain.delete(key)),
    deleteAll: (some) => {
      const keys = [...some]
      return around({ action: "deleteAll", keys }, plain.deleteAll(keys))
    },
    clear: around({ action: "clear" }, plain.clear),
    invalidateTag: (tag) => around({ action: "invalidateTag", tag }, plain.invalidateTag(tag)),
    has: (key) => around({ action: "has", key }, plain.has(key)),
    touch: (key) => around({ action: "touch", key }, plain.touch(key)),
    ttl: (key) => around({ action: "ttl", key }, plain.ttl(key)),
    expire: (key, lifetime) => around({ action: "expire", key }, plain.expire(key, lifetime)),
    size: around({ action: "size" }, plain.size),
    keys: around({ action: "keys" }, plain.keys),
    entries: around({ action: "entries" }, plain.entries),
    contents: plain.contents,
    stats: plain.stats,
    events: plain.events,
    unsafePeek: plain.unsafePeek,
    evicting: plain.evicting
  }
  service.told = (key, had) => around({ action: "delete", key }, Effect.succeed(had))
  return cache
}
