/**
 * Command hooks run before and after what is asked of a cache.
 *
 * A hook sees every command with its arguments, and afterwards with its result: to log, to count, to announce, or, with `replace`, to answer
 * something else. Hooks run in the order of the list. What a hook itself asks of the cache is a command again.
 *
 *        before … before ──▶ the command ──▶ after, replace … in the order given ──▶ the caller
 *
 * A defect of a `"sync"` hook is the caller's: it asked for the command and waits for its hooks. A `before` that dies ends the command before it has done
 * anything; an `after` or `replace` that dies ends the call, and what the command did stays done. A caller that is interrupted interrupts the hook it waits for.
 *
 * `evicting` is the exception, for it comes after a write that has succeeded: the key is removed first, whatever hooks do. Then they all run, those before a
 * `delete` and those after it; their defects are logged and fail nobody, and a writer that was interrupted leaves them to the background.
 *
 * Not for reacting to expiry or eviction: those are no commands. And a read of a cache with hooks is an ordinary effect, several times dearer than a
 * hit without: what only fills the cache is better a `lookup`.
 *
 * @since 0.1.0
 */
import type { Duration, Effect, Exit, Option } from "effect"
import type { Cache } from "./Cache.js"

/**
 * What can be asked of a cache, with its arguments.
 *
 * @since 0.1.0
 * @category models
 */
export type Command<K, V> =
  | { readonly action: "get"; readonly key: K }
  | { readonly action: "getOption"; readonly key: K }
  | { readonly action: "getAll"; readonly keys: ReadonlyArray<K> }
  | { readonly action: "getEach"; readonly keys: ReadonlyArray<K> }
  | { readonly action: "getOrLoad"; readonly key: K }
  | { readonly action: "refresh"; readonly key: K }
  | { readonly action: "put"; readonly key: K; readonly value: V }
  | { readonly action: "putIfAbsent"; readonly key: K; readonly value: V }
  | { readonly action: "update"; readonly key: K }
  | { readonly action: "getAndUpdate"; readonly key: K }
  | { readonly action: "take"; readonly key: K }
  | { readonly action: "delete"; readonly key: K }
  | { readonly action: "deleteAll"; readonly keys: ReadonlyArray<K> }
  | { readonly action: "clear" }
  | { readonly action: "invalidateTag"; readonly tag: string }
  | { readonly action: "has"; readonly key: K }
  | { readonly action: "touch"; readonly key: K }
  | { readonly action: "ttl"; readonly key: K }
  | { readonly action: "expire"; readonly key: K }
  | { readonly action: "size" }
  | { readonly action: "keys" }
  | { readonly action: "entries" }

/**
 * What each command answers. `fetch` is a `get` to hooks, and `evicting` a `delete`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Results<K, V> {
  readonly get: Option.Option<V>
  readonly getOption: Option.Option<V>
  readonly getAll: ReadonlyArray<Option.Option<V>>
  readonly getEach: ReadonlyArray<Exit.Exit<Option.Option<V>, unknown>>
  readonly getOrLoad: V
  readonly refresh: Option.Option<V>
  // biome-ignore lint/suspicious/noConfusingVoidType: what an Effect<void> succeeds with
  readonly put: void
  readonly putIfAbsent: boolean
  readonly update: Option.Option<V>
  readonly getAndUpdate: Option.Option<V>
  readonly take: Option.Option<V>
  readonly delete: boolean
  readonly deleteAll: number
  // biome-ignore lint/suspicious/noConfusingVoidType: as above
  readonly clear: void
  readonly invalidateTag: number
  readonly has: boolean
  readonly touch: boolean
  readonly ttl: Option.Option<Duration.Duration>
  readonly expire: boolean
  readonly size: number
  readonly keys: ReadonlyArray<K>
  readonly entries: ReadonlyArray<readonly [K, V]>
}

/**
 * The name of a command.
 *
 * @since 0.1.0
 * @category models
 */
export type Action = keyof Results<unknown, unknown>

/**
 * A command that is about to run, and the cache it will run on.
 *
 * @since 0.1.0
 * @category models
 */
export type Before<K, V, E> = Command<K, V> & { readonly cache: Cache<K, V, E> }

/**
 * A command that has run, with its result.
 *
 * @since 0.1.0
 * @category models
 */
export type After<K, V, E, A extends Action = Action> = {
  readonly [P in A]: Extract<Command<K, V>, { readonly action: P }> & {
    readonly cache: Cache<K, V, E>
    readonly result: Results<K, V>[P]
  }
}[A]

/**
 * Whether the caller waits for a hook (`"sync"`, the default), or the hook runs in the background for as long as the cache exists (`"fork"`), where a
 * failure is logged and touches nobody.
 *
 * @since 0.1.0
 * @category models
 */
export interface HookOptions {
  readonly mode?: "sync" | "fork" | undefined
}

/**
 * One hook of a cache: see `before`, `after` and `replace`.
 *
 * @since 0.1.0
 * @category models
 */
export type Hook<K, V, E = never, R = never> =
  | {
      readonly _tag: "Before"
      readonly mode: "sync" | "fork"
      readonly run: (command: Before<K, V, E>) => Effect.Effect<void, never, R>
    }
  | {
      readonly _tag: "After"
      readonly mode: "sync" | "fork"
      readonly run: (command: After<K, V, E>) => Effect.Effect<void, never, R>
    }
  | {
      readonly [A in Action]: {
        readonly _tag: "Replace"
        readonly action: A
        readonly run: (command: After<K, V, E, A>) => Effect.Effect<Results<K, V>[A], Failure<E, A>, R>
      }
    }[Action]

/**
 * What a replacing hook may fail with: where the command itself can fail, the cache's own error; elsewhere nothing.
 *
 * @since 0.1.0
 * @category models
 */
export type Failure<E, A extends Action> = A extends "get" | "getAll" | "getOrLoad" | "refresh" ? E : never

/**
 * Runs before each command. With `"sync"` a defect of the hook ends the command before it has done anything, `evicting` excepted.
 *
 * @since 0.1.0
 * @category hooks
 */
export const before = <K, V, E = never, R = never>(
  run: (command: Before<K, V, E>) => Effect.Effect<void, never, R>,
  options?: HookOptions
): Hook<K, V, E, R> => ({ _tag: "Before", mode: options?.mode ?? "sync", run })

/**
 * Runs after each command that succeeded, and sees its result. With `"sync"` a defect of the hook reaches the caller, who cannot take back the command by that;
 * after `evicting` it is logged.
 *
 * @since 0.1.0
 * @category hooks
 */
export const after = <K, V, E = never, R = never>(
  run: (command: After<K, V, E>) => Effect.Effect<void, never, R>,
  options?: HookOptions
): Hook<K, V, E, R> => ({ _tag: "After", mode: options?.mode ?? "sync", run })

/**
 * Runs after each command of one name and answers in its place: what it succeeds with is what later hooks and the caller see. A `get` that falls back to the
 * database is five lines of it, as in EctoFallback; `lookup` and `RepoCache` are the everyday forms.
 *
 * Such a hook loads by `getOrLoad`: once for all who ask, and what a write overtakes is not kept. What it read by itself and then `put`s, as EctoFallback does, may
 * have been written and evicted in between, and is brought back by that.
 *
 * @since 0.1.0
 * @category hooks
 * @example
 * ```ts
 * import { Cache } from "@effecto/cache"
 * import { type Cause, Effect, Option } from "effect"
 *
 * const rows = new Map([[1, "Ada"]])
 * const find = (id: number) => Effect.suspend(() => Option.fromNullable(rows.get(id))) // fails where there is none
 *
 * const program = Effect.gen(function* () {
 *   const people = yield* Cache.make<number, string, Cause.NoSuchElementException>({
 *     name: "people",
 *     hooks: [
 *       Cache.replace("get", ({ cache, key, result }) =>
 *         Option.isSome(result)
 *           ? Effect.succeed(result)
 *           : Effect.optionFromOptional(cache.getOrLoad(key, find(key)))
 *       )
 *     ]
 *   })
 *   yield* people.get(1) // falls back
 *   yield* Effect.sync(() => rows.set(1, "Eve")).pipe(people.evicting(1)) // a write says what it writes
 *   console.log(yield* people.fetch(1)) // Eve
 * })
 *
 * Effect.runPromise(Effect.scoped(program))
 * ```
 */
export const replace = <K, V, E = never, R = never, A extends Action = Action>(
  action: A,
  run: (command: After<K, V, E, A>) => Effect.Effect<Results<K, V>[A], Failure<E, A>, R>
): Hook<K, V, E, R> =>
  // A is one action: the pair of it and its function is that action's member of the union, which TypeScript does not see through A.
  ({ _tag: "Replace", action, run }) as Hook<K, V, E, R>
