/** A service as what its callers see: the commands, and the hooks around them. */
import { Effect } from "effect"
import type { Cache } from "./Cache.js"
import type { Action, After, Command, Hook, Results } from "./CommandHook.js"
import { type Lifetime, type Span, toSpan } from "./lifetime.js"
import { orNotCached, readsOf } from "./read.js"
import type { Service } from "./service.js"

/** A lifetime that is no function is decoded before the load begins, so that a wrong one is told before any work is done. */
const spanBy = <V>(
  label: string,
  usual: Span,
  lifetime: Lifetime | ((value: V) => Lifetime) | undefined
): ((value: V) => Span) => {
  if (lifetime === undefined) return () => usual
  if (typeof lifetime === "function") return (value) => toSpan(lifetime(value), label)
  const span = toSpan(lifetime, label)
  return () => span
}

export const commandsOf = <K, V, E>(service: Service<K, V, E>, hooks: ReadonlyArray<Hook<K, V, E>>): Cache<K, V, E> => {
  const { name, span } = service.settings
  const label = `the lifetime given to cache ${JSON.stringify(name)}`

  const reads = readsOf(service)

  const plain: Cache<K, V, E> = {
    name,
    get: reads.get,
    fetch: reads.fetch,
    getOption: reads.getOption,
    getOrLoad: (key, effect, lifetime) =>
      // Sound: the services that the effect asks for are those of the fiber that will run the returned effect.
      reads.getOrLoad(key, effect as Effect.Effect<V, E>, () => spanBy(label, span, lifetime)),
    put: (key, value, lifetime) =>
      Effect.suspend(() => {
        const chosen = spanBy(label, span, lifetime)(value)
        return service.write(
          key,
          (store, now) => store.put(key, value, chosen, now),
          (store, now) => void store.remove(key, now)
        )
      }),
    delete: (key) =>
      Effect.zipLeft(
        service.step((store, now, fiber) => !service.isDirty(key, fiber) && store.peek(key, now) !== undefined),
        service.write(key, (store, now) => void store.remove(key, now))
      ),
    clear: service.write(undefined, (store) => store.clear()),
    has: (key) =>
      service.step((store, now, fiber) => !service.isDirty(key, fiber) && store.peek(key, now) !== undefined),
    size: service.step((store, now) => store.size(now)),
    stats: service.step((store, now) => ({ size: store.size(now), ...store.counters })),
    evicting: (key) => (self) => service.evicting(self, commands.delete(key))
  }
  const commands = hooks.length === 0 ? plain : hooked(service, plain, hooks)
  return commands
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
    body: Effect.Effect<Results<V>[A], E2>
  ): Effect.Effect<Results<V>[A], E2> =>
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
          const replace = hook.run as unknown as (command: After<K, V, E, A>) => Effect.Effect<Results<V>[A], E2>
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
    getOrLoad: (key, effect, lifetime) =>
      around({ action: "getOrLoad", key }, plain.getOrLoad(key, effect as Effect.Effect<V, E>, lifetime)), // sound: as in the plain one
    put: (key, value, lifetime) => around({ action: "put", key, value }, plain.put(key, value, lifetime)),
    delete: (key) => around({ action: "delete", key }, plain.delete(key)),
    clear: around({ action: "clear" }, plain.clear),
    has: (key) => around({ action: "has", key }, plain.has(key)),
    size: around({ action: "size" }, plain.size),
    stats: plain.stats,
    evicting: (key) => (self) => service.evicting(self, cache.delete(key))
  }
  return cache
}
