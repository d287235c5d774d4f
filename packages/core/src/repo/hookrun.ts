/** Runs the hooks of a table: which, in what order, and which inside of another. */
import { Cause, type Context, Effect, Exit, Option } from "effect"
import { uninterruptibleMask } from "../primitives.js"
import type { Database } from "./database.js"
import { type Call, DeltaOf } from "./delta.js"
import { frameOf } from "./frame.js"
import { type Guarded, type HookState, hookState, outsideOfHooks } from "./hookstate.js"
import { type CommitFailed, DbError, HookLoop, HookReentry, type StatementError } from "./RepoError.js"
import { outside } from "./registration.js"
import { Repo, type Service } from "./repository.js"
import type { Any, Change, HookedOperation, HookName, HookSet, Reentry } from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"
import { transactFor } from "./transact.js"

/** A hook as it is run: what it takes and gives is its table's business. */
type Run = (value: unknown, delta: DeltaOf) => Effect.Effect<unknown, never, never>

/** A hook that is run, and what it is called on the way. */
interface Hook {
  readonly name: HookName
  readonly label: string
  readonly set: HookSet<Any>
  readonly run: Run
  readonly reentry: Reentry
  readonly maxDepth: number
}

/** How deep hooks with `reentry: "run"` may go, when nothing is said. */
const usualDepth = 16
/** How long a way may be that comes back through after-commit work; nobody has asked for that, so it is a defect. */
const endless = 100

/** The hooks of one operation, of which some may run inside of other hooks too. */
export interface Hooks {
  readonly before: ReadonlyArray<Hook>
  readonly after: ReadonlyArray<Hook>
  readonly commit: ReadonlyArray<Hook>
  readonly loadsOld: boolean
  readonly savepoint: boolean
  /** The hook that refuses to run inside of another. */
  readonly refuses: string | undefined
  /** Those that run inside of another. */
  readonly inside: Hooks | undefined
}

const named = (
  table: TableImplementation,
  name: HookName,
  isMeant: (set: HookSet<Any>) => boolean = () => true
): ReadonlyArray<Hook> => {
  const found: Array<Hook> = []
  for (const set of table.hookSets) {
    const hook = set[name]
    if (hook === undefined || !isMeant(set)) continue
    const reentry = set.reentry ?? "skip"
    found.push({
      name,
      label: `${table.name}.${name}`,
      set,
      // Sound: each hook is run with what its name promises, and its errors and needs are in the types of the call that runs it.
      run: hook as unknown as Run,
      reentry,
      maxDepth: reentry === "run" ? (set.maxDepth ?? usualDepth) : endless
    })
  }
  return found
}

const hooksOrNone = (
  before: ReadonlyArray<Hook>,
  after: ReadonlyArray<Hook>,
  commit: ReadonlyArray<Hook>,
  loadsOld: boolean,
  savepoint: boolean
): Hooks | undefined => {
  const all = [...before, ...after, ...commit]
  if (all.length === 0) return undefined
  const runs = (hook: Hook) => hook.reentry === "run"
  return {
    before,
    after,
    commit,
    loadsOld,
    savepoint,
    refuses: all.find((hook) => hook.reentry === "fail")?.label,
    inside: all.every(runs)
      ? { before, after, commit, loadsOld, savepoint, refuses: undefined, inside: undefined }
      : hooksOrNone(before.filter(runs), after.filter(runs), commit.filter(runs), loadsOld, savepoint)
  }
}

/** By its sets: a table that a middleware narrows has the same ones. */
const bySets = new WeakMap<ReadonlyArray<HookSet<Any>>, Collected>()

const policies: ReadonlyArray<unknown> = [undefined, "skip", "run", "fail"] satisfies ReadonlyArray<
  HookSet<Any>["reentry"]
>

type Collected = Readonly<Record<HookedOperation, Hooks | undefined>>

const collected = (table: TableImplementation): Collected => {
  for (const { reentry } of table.hookSets)
    if (!policies.includes(reentry))
      throw new Error(`there is no reentry ${String(reentry)} for hooks of ${table.name}: "skip", "run" or "fail"`)
  const commit = named(table, "afterCommit")
  const commitOfMany = named(table, "afterCommit", (set) => set.bulk === true)
  const savepoint = table.hookSets.some((set) => set.savepoint === true)
  const loadsOld = table.hookSets.some((set) => set.loadOld === true)
  return {
    get: hooksOrNone([], named(table, "afterGet"), [], false, false),
    insert: hooksOrNone(named(table, "beforeInsert"), named(table, "afterInsert"), commit, false, savepoint),
    update: hooksOrNone(named(table, "beforeUpdate"), named(table, "afterUpdate"), commit, loadsOld, savepoint),
    delete: hooksOrNone(named(table, "beforeDelete"), named(table, "afterDelete"), commit, loadsOld, savepoint),
    insertAll: hooksOrNone(
      named(table, "beforeInsertAll"),
      named(table, "afterInsertAll"),
      commitOfMany,
      false,
      savepoint
    ),
    updateAll: hooksOrNone(
      named(table, "beforeUpdateAll"),
      named(table, "afterUpdateAll"),
      commitOfMany,
      false,
      savepoint
    ),
    deleteAll: hooksOrNone(
      named(table, "beforeDeleteAll"),
      named(table, "afterDeleteAll"),
      commitOfMany,
      false,
      savepoint
    )
  }
}

/** What hooks an operation of a table has, if any. */
export const hooksOf = (table: TableImplementation, operation: HookedOperation): Hooks | undefined => {
  if (table.hookSets.length === 0) return undefined
  let found = bySets.get(table.hookSets)
  if (found === undefined) {
    found = collected(table)
    bySets.set(table.hookSets, found)
  }
  return found[operation]
}

/** Runs something with the hooks that are to run where its fiber stands, or without any. */
export const choosing = <A, E, R>(
  hooks: Hooks,
  hooked: (hooks: Hooks) => Effect.Effect<A, E, R>,
  bare: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const state = fiber.getFiberRef(hookState)
    if (state === outsideOfHooks) return hooked(hooks)
    if (state.disabled) return bare
    if (!state.inHook) return hooked(hooks)
    if (hooks.refuses !== undefined)
      // Sound: a table with such a hook has this error in its type.
      return Effect.fail(new HookReentry({ hook: hooks.refuses, path: state.path })) as Effect.Effect<never, never>
    return hooks.inside === undefined ? bare : hooked(hooks.inside)
  })

/** The way into a hook, when it is too long. */
const loop = (hook: Hook, { path }: HookState): HookLoop | undefined =>
  path.length < hook.maxDepth ? undefined : new HookLoop({ path: [...path, hook.label] })

/** The state inside of a hook. */
const inside = (hook: Hook, state: HookState): HookState => ({
  ...state,
  inHook: true,
  path: [...state.path, hook.label]
})

type Fiber = Parameters<Parameters<typeof Effect.withFiberRuntime>[0]>[0]

/** One hook, in its fiber. What a hook gives at once is not run: most of them only look at a row. */
const running = (
  fiber: Fiber,
  service: Service,
  hook: Hook,
  value: unknown,
  changeset: object | undefined,
  about: Call,
  guarded?: Guarded
): Effect.Effect<unknown> => {
  const state = fiber.getFiberRef(hookState)
  const tooDeep = loop(hook, state)
  if (tooDeep !== undefined)
    return hook.reentry === "run"
      ? // Sound: a table with such a hook has this error in its type.
        (Effect.fail(tooDeep) as Effect.Effect<never, never>)
      : Effect.die(tooDeep)
  const given = hook.run(value, new DeltaOf(about, hook.name, changeset, state))
  if (Exit.isExit(given)) return given
  const provided =
    fiber.currentContext.unsafeMap.get(Repo.key) === service ? given : Effect.provideService(given, Repo, service)
  return Effect.locally(provided, hookState, inside(hook, guarded === undefined ? state : { ...state, guarded }))
}

/** Hands a value through hooks, one after the other; to be called in their fiber. It is an Exit when all of them gave theirs at once. */
const through = (
  hooks: ReadonlyArray<Hook>,
  value: unknown,
  run: (hook: Hook, value: unknown) => Effect.Effect<unknown>,
  from = 0
): Effect.Effect<unknown> => {
  let current = value
  for (let at = from; at < hooks.length; at += 1) {
    const hook = hooks[at]
    if (hook === undefined) continue
    const given = run(hook, current)
    if (!Exit.isExit(given)) return Effect.flatMap(given, (next) => through(hooks, next, run, at + 1))
    if (Exit.isFailure(given)) return given
    current = given.value
  }
  return Effect.succeed(current)
}

/** Hands what is to be written through the hooks before it. What hooks before a delete give is nothing: its key stays. */
export const throughBefore = (
  fiber: Fiber,
  service: Service,
  hooks: Hooks,
  value: unknown,
  about: Call,
  guarded: Guarded | undefined
): Effect.Effect<unknown> =>
  through(hooks.before, value, (hook, current) => {
    if (about.operation === "delete") {
      const given = running(fiber, service, hook, current, undefined, about, guarded)
      return Exit.isExit(given) && Exit.isSuccess(given) ? Exit.succeed(current) : Effect.as(given, current)
    }
    // Sound: what is written is an object of fields, or many of them.
    const changeset = Array.isArray(current) ? undefined : (current as object)
    return running(fiber, service, hook, current, changeset, about, guarded)
  })

/** Hands what was written, or read, through the hooks after it. */
export const throughAfter = (
  fiber: Fiber,
  service: Service,
  hooks: Hooks,
  value: unknown,
  changeset: object | undefined,
  about: Call,
  /** The write that they are behind: what they write is guarded together with it. */
  ofWrite?: Guarded
): Effect.Effect<unknown> => {
  const ofRead: Guarded | undefined =
    about.operation === "get" ? { isOver: false, around: fiber.getFiberRef(hookState).guarded } : undefined
  const given = through(hooks.after, value, (hook, current) =>
    running(fiber, service, hook, current, changeset, about, ofRead ?? ofWrite)
  )
  return ofRead === undefined || Exit.isExit(given)
    ? given
    : Effect.map(given, (rows) => {
        ofRead.isOver = true
        return rows
      })
}

/** One change, with the way that led to it. */
interface Noted {
  readonly change: Change<Any>
  readonly state: HookState
}

/** Runs an afterCommit with everything that one transaction did: where its last change was made, and as deep as the deepest. */
const reporting =
  (service: Service, hook: Hook, context: Context.Context<never>) =>
  (all: ReadonlyArray<Noted>): Effect.Effect<void> => {
    const deepest = all.reduce(
      (deepest, { state }) => (state.path.length > deepest.path.length ? state : deepest),
      outsideOfHooks
    )
    const last = all[all.length - 1]?.state ?? outsideOfHooks
    const state = { ...last, path: deepest.path, guarded: undefined }
    const tooDeep = loop(hook, state)
    if (tooDeep !== undefined) return Effect.die(tooDeep)
    // Sound: an afterCommit takes changes, and nothing else.
    const run = hook.run as unknown as (changes: ReadonlyArray<Change<Any>>) => Effect.Effect<void>
    return Effect.suspend(() => run(all.map(({ change }) => change))).pipe(
      Effect.provideService(Repo, service),
      Effect.mapInputContext((_: Context.Context<never>) => context),
      Effect.locally(hookState, inside(hook, state))
    )
  }

/** What one call of an afterCommit is about: one set of hooks, and one table, however many narrowed forms of that there are. */
const batches = new WeakMap<HookSet<Any>, Map<string, object>>()

const batchOf = ({ set }: Hook, { plan }: TableImplementation): object => {
  let ofSet = batches.get(set)
  if (ofSet === undefined) {
    ofSet = new Map()
    batches.set(set, ofSet)
  }
  let batch = ofSet.get(plan.sqlName)
  if (batch === undefined) {
    batch = {}
    ofSet.set(plan.sqlName, batch)
  }
  return batch
}

/** Notes a change for the hooks after the commit of the transaction it is made in. */
export const noteChange = (
  fiber: Fiber,
  database: Database,
  service: Service,
  hooks: Hooks,
  row: object,
  changeset: object | undefined,
  about: Call
): void => {
  const frame = frameOf(fiber.currentContext, database.client)
  // There is one: hooks of a write run in a transaction.
  if (frame === undefined || about.operation === "get") return
  const state = fiber.getFiberRef(hookState)
  for (const hook of hooks.commit) {
    const delta = new DeltaOf(about, hook.name, changeset, state)
    const noted: Noted = { change: { operation: about.operation, row, delta }, state }
    frame.registrations.push({
      key: undefined,
      forced: undefined,
      on: () => undefined,
      // Sound: what is collected for a hook are its own notes.
      batch: {
        of: batchOf(hook, about.table),
        item: noted,
        run: reporting(service, hook, outside(fiber.currentContext, frame)) as (
          all: ReadonlyArray<unknown>
        ) => Effect.Effect<void>
      }
    })
  }
}

/** The three parts of a write between hooks, each to be called in its fiber. `guarded` is the write in an open transaction. */
export interface HookedWrite<A, E> {
  readonly before: (fiber: Fiber, guarded: Guarded | undefined) => Effect.Effect<unknown, E>
  readonly statement: (prepared: unknown) => Effect.Effect<A, E>
  /** Whether that is one statement, and not several in a transaction of their own. */
  readonly isOneStatement: boolean
  readonly after: (fiber: Fiber, written: A, prepared: unknown, guarded: Guarded | undefined) => Effect.Effect<A, E>
}

const inOrder = <A, E>({ after, before, statement }: HookedWrite<A, E>): Effect.Effect<A, E> =>
  Effect.withFiberRuntime((fiber) =>
    Effect.flatMap(before(fiber, undefined), (prepared) =>
      Effect.flatMap(statement(prepared), (written) => after(fiber, written, prepared, undefined))
    )
  )

/**
 * Runs a write between its hooks as part of the transaction that is open, or in one of its own.
 *
 * As part of an open one it costs no statement more, and there is no savepoint to go back to: once something was written, by the statement or by a hook
 * before it, a failure leaves nothing to commit. A statement that fails has written nothing: PostgreSQL knows itself what that does to a transaction, and a row
 * that is not there does nothing to it.
 *
 * What is written is unfinished from the moment its statement is sent until the hooks behind it are through. The frame knows that, and nobody has to put
 * it right when a fiber is interrupted, whether the statement's answer has got there or not: whatever is unfinished at the end of the frame spoils it.
 */
export const together = <A, E, F>(
  database: Database,
  hooks: Hooks,
  write: HookedWrite<A, E>,
  commitFailed: (failure: CommitFailed) => F
): Effect.Effect<A, E | F | StatementError> =>
  Effect.withFiberRuntime<A, E | F | StatementError>((fiber) => {
    const frame = frameOf(fiber.currentContext, database.client)
    if (frame === undefined || hooks.savepoint) return transactFor(database, inOrder(write), commitFailed)
    const state = fiber.getFiberRef(hookState)
    const guarded: Guarded = { isOver: false, around: state.guarded }
    const finish = (result: A): A => {
      frame.finish(guarded)
      return result
    }
    // Uninterruptible around the statement: whoever is interrupted while it waits for its turn would leave its finalizers as writers of this one.
    const rest = (prepared: unknown): Effect.Effect<A, E> =>
      uninterruptibleMask((restore) => {
        const hasWritten = frame.hasWritten(guarded)
        const statement = restore(write.statement(prepared))
        // A FiberRef is the dearest way to say whose statement it is, which only several need.
        if (write.isOneStatement) frame.writesBy(fiber, guarded)
        return Effect.matchCauseEffect(
          write.isOneStatement ? statement : Effect.locally(statement, hookState, { ...state, guarded }),
          {
            onFailure: (cause) => {
              frame.writesBy(fiber, undefined)
              const failure = Cause.failureOption(cause)
              if (!hasWritten && Option.isSome(failure) && !isWritten(failure.value)) frame.finish(guarded)
              return Effect.failCause(cause)
            },
            onSuccess: (row) => {
              frame.writesBy(fiber, undefined)
              const after = write.after(fiber, row, prepared, guarded)
              return Exit.isExit(after) && Exit.isSuccess(after)
                ? Effect.succeed(finish(after.value as A))
                : restore(Effect.map(after, finish))
            }
          }
        )
      })
    const before = write.before(fiber, guarded)
    return Exit.isExit(before) && Exit.isSuccess(before) ? rest(before.value) : Effect.flatMap(before, rest)
  })

/** Whether what failed is written all the same: the row that came back did not fit the model. */
const isWritten = (error: unknown): boolean => error instanceof DbError && error.kind === "decode"
