/** Runs the hooks of a table: which, in what order, and none inside of another. */
import { Effect, FiberRef } from "effect"
import { Repo, type Service } from "./repository.js"
import type { Any, Delta, HookSet, Operation } from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"

type HookName = keyof HookSet<Any>

/** A hook as it is run: what it takes and gives is its table's business. */
type Run = (value: unknown, delta: Delta<Any>) => Effect.Effect<unknown, never, never>

/** Whether a fiber runs inside of a hook. Forked fibers inherit it, and joining them does not bring it back. */
const inHookRef = FiberRef.unsafeMake(false, { join: (parent) => parent })

/**
 * Whether the effect that asks runs inside of a hook, where the Repo runs no hooks.
 *
 * @since 0.1.0
 * @category hooks
 */
export const inHook: Effect.Effect<boolean> = FiberRef.get(inHookRef)

const named = (table: TableImplementation, name: HookName): ReadonlyArray<Run> => {
  const found: Array<Run> = []
  for (const set of table.hookSets) {
    const hook = set[name]
    // Sound: each hook is run with what its name promises, and its errors and needs are in the types of the call that runs it.
    if (hook !== undefined) found.push(hook as unknown as Run)
  }
  return found
}

/** The hooks of one operation. */
export interface Hooks {
  readonly before: ReadonlyArray<Run>
  readonly after: ReadonlyArray<Run>
}

const byTable = new WeakMap<TableImplementation, Readonly<Record<Operation, Hooks | undefined>>>()

const hooksOrNone = (before: ReadonlyArray<Run>, after: ReadonlyArray<Run>): Hooks | undefined =>
  before.length + after.length === 0 ? undefined : { before, after }

/** What hooks an operation of a table has, if any. */
export const hooksOf = (table: TableImplementation, operation: Operation): Hooks | undefined => {
  if (table.hookSets.length === 0) return undefined
  let found = byTable.get(table)
  if (found === undefined) {
    found = {
      get: hooksOrNone([], named(table, "afterGet")),
      insert: hooksOrNone(named(table, "beforeInsert"), named(table, "afterInsert")),
      update: hooksOrNone(named(table, "beforeUpdate"), named(table, "afterUpdate")),
      delete: hooksOrNone(named(table, "beforeDelete"), named(table, "afterDelete"))
    }
    byTable.set(table, found)
  }
  return found[operation]
}

/** Runs `hooked` where hooks are to run, and `bare` inside of a hook. */
export const unlessInHook = <A, E, R>(
  hooked: Effect.Effect<A, E, R>,
  bare: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.withFiberRuntime((fiber) => (fiber.getFiberRef(inHookRef) ? bare : hooked))

/** Hands a value through hooks, one after the other. */
export const through = (
  service: Service,
  hooks: ReadonlyArray<Run>,
  value: unknown,
  delta: Delta<Any>
): Effect.Effect<unknown> => {
  const [only] = hooks
  if (only === undefined) return Effect.succeed(value)
  const chain =
    hooks.length === 1
      ? Effect.suspend(() => only(value, delta))
      : Effect.reduce(hooks, value, (current, hook) => hook(current, delta))
  return Effect.locally(Effect.provideService(chain, Repo, service), inHookRef, true)
}
