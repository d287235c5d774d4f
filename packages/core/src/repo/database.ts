/**
 * The one place that knows how @effect/sql's clients work inside: how to find a client's pool, how to reserve a connection without losing it, how to
 * make a client whose `withTransaction` is ours. Everything else of this folder sees a {@link Database}.
 */
import { SqlClient, type SqlConnection, type SqlError, Statement } from "@effect/sql"
import { Context, Effect, Exit, FiberRef, Predicate, type Scope } from "effect"
import { type Restore, uninterruptibleMask } from "../primitives.js"
import type { Instance, Slot } from "../supervision/instance.js"
import { real, slotOf } from "../supervision/lineage.js"
import { announcerOf } from "./announcer.js"
import type { Announcer } from "./changes.js"
import { type Answer, type Channel, type ChannelOptions, type On, PoolChannel } from "./connection.js"
import { type Frame, frameOf } from "./frame.js"
import { FrameChannel } from "./framechannel.js"
import { cleaned, Held, heldOf, heldTag } from "./held.js"
import { Lending, type Reserved } from "./lending.js"
import type { Password } from "./ownconnection.js"
import type { Piggyback } from "./pipeline.js"
import { forgetPrepared, isStale, perhapsOutdated, renamed, renamedWhereOutdated } from "./prepared.js"
import type { Source } from "./statementlog.js"
import type { TransactionDefaults } from "./transact.js"

/** What a database is given; the rest its client says. */
export interface DatabaseOptions extends Omit<ChannelOptions, "lists"> {
  /** For connections beside the pool, instead of what the pool's connections have. */
  readonly password?: Password | undefined
  readonly transactions?: TransactionDefaults | undefined
}

/** The parts of a statement of @effect/sql 0.52 that it keeps but does not declare: what its client makes statements from. */
interface StatementParts {
  readonly acquirer: SqlConnection.Connection.Acquirer
  readonly compiler: Statement.Compiler
  readonly spanAttributes: ReadonlyArray<readonly [string, unknown]>
  readonly transformRows: Parameters<typeof Statement.make>[3]
}

const partsOf = (client: SqlClient.SqlClient): StatementParts => {
  const statement: unknown = real(client).unsafe("select 1")
  if (
    !Predicate.hasProperty(statement, "acquirer") ||
    !Effect.isEffect(statement.acquirer) ||
    !Predicate.hasProperty(statement, "compiler") ||
    !Predicate.hasProperty(statement, "spanAttributes")
  )
    throw new Error("@effecto/core does not know this version of @effect/sql: it expects 0.52")
  // Sound: the fields that are relied on were looked at above.
  return statement as unknown as StatementParts
}

const withoutTransaction = <A, E>(self: Effect.Effect<A, E, Scope.Scope>): Effect.Effect<A, E, Scope.Scope> =>
  Effect.mapInputContext(self, (context: Context.Context<Scope.Scope>) =>
    // Sound: the scope, which is all that is required, stays.
    Context.omit(SqlClient.TransactionConnection)(
      context as Context.Context<Scope.Scope | SqlClient.TransactionConnection>
    )
  )

/** As the driver does it: its statements may queue on this connection, and stopping one of them would hit another. */
const on = (connection: SqlConnection.Connection): On => {
  const driven = {
    executeRaw: (text: string, parameters: ReadonlyArray<unknown>) => connection.executeRaw(text, parameters),
    executeValues: (text: string, parameters: ReadonlyArray<unknown>) => connection.executeValues(text, parameters)
  }
  return (use) => use(driven)
}

export class Database {
  private readonly pool: Effect.Effect<Channel, SqlError.SqlError, Scope.Scope>
  /** The pool's channel, where it is always the same one: then statements need no scope. */
  private readonly constantPool: Channel | undefined

  private readonly lending: Lending
  readonly options: ChannelOptions & Pick<DatabaseOptions, "password" | "transactions">
  /** In a sandbox, the transaction that everything happens in, and that nobody sees. */
  ground: Frame | undefined = undefined
  readonly announcer: Announcer
  /** The same object for all Repos of a client. */
  readonly client: SqlClient.SqlClient

  constructor(
    client: SqlClient.SqlClient,
    options: DatabaseOptions,
    /** What it is built in, if that is an instance of a child. */
    instance?: Instance
  ) {
    this.client = oneOf(client)
    this.announcer = announcerOf(client, instance)
    // Through a handle it is the reserve of whatever instance is there, which may be another one each time.
    const reserve =
      slotOf(client) === undefined
        ? client.reserve
        : Effect.tap(client.reserve, () => Effect.sync(() => announcerOf(client, instance)))
    this.lending = new Lending(reserve, driverTag(client) !== undefined)
    // Names, and rows as lists, are understood by `pg` only.
    const isPg = driverTag(client) !== undefined
    this.options = { ...options, prepare: options.prepare && isPg, lists: isPg }
    const acquirer = withoutTransaction(partsOf(client).acquirer)
    const channel = (connection: SqlConnection.Connection) =>
      driverTag(client) === undefined
        ? new PoolChannel(on(connection), this.options, this.reserveScoped)
        : new PoolChannel(this.lent, this.options, this.reserveScoped, () => this.lending.atHand())
    const look = () => Effect.runSyncExit(Effect.scoped(acquirer))
    const [one, other] = [look(), look()]
    this.constantPool =
      Exit.isSuccess(one) && Exit.isSuccess(other) && one.value === other.value ? channel(one.value) : undefined
    this.pool =
      this.constantPool === undefined ? Effect.map(acquirer, channel) : Effect.succeed<Channel>(this.constantPool)
  }

  /** Takes a connection from the pool; to be called in an uninterruptible region, whose `restore` makes the waiting interruptible. */
  take(restore: Restore): Effect.Effect<Reserved, SqlError.SqlError> {
    return Effect.withFiberRuntime((fiber) => (heldOf(fiber.currentContext, this.client) ?? this.lending).take(restore))
  }

  /** Runs an effect with one connection for all that it does; inside of a transaction it has one already. */
  session<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> {
    return Effect.withFiberRuntime<A, E | SqlError.SqlError, R>((fiber) => {
      const context = fiber.currentContext
      const hasOne =
        frameOf(context, this.client) !== undefined ||
        foreignConnection(context) !== undefined ||
        heldOf(context, this.client) !== undefined
      if (hasOne || this.ground !== undefined) return self
      return uninterruptibleMask((restore) =>
        Effect.flatMap(this.lending.take(restore), ({ connection, giveBack }) => {
          const held = new Held(this.client, connection, this.options)
          const end = Effect.zipRight(held.end, Effect.zipRight(cleaned(connection), giveBack))
          return Effect.ensuring(
            Effect.locally(restore(self), FiberRef.currentContext, Context.add(context, heldTag, held)),
            end
          )
        })
      )
    })
  }

  /** A connection for the length of one statement: only one that we hold can be stopped without another one. */
  private readonly lent: On = (use) =>
    uninterruptibleMask((restore) =>
      Effect.flatMap(this.lending.take(restore), ({ connection, giveBack }) =>
        Effect.matchCauseEffect(restore(use(connection)), {
          onFailure: (cause) => Effect.zipRight(giveBack, Effect.failCause(cause)),
          onSuccess: (value) => Effect.as(giveBack, value)
        })
      )
    )

  /** A connection for the length of a scope. */
  readonly reserveScoped: SqlConnection.Connection.Acquirer = uninterruptibleMask((restore) =>
    Effect.flatMap(this.lending.take(restore), (reserved) =>
      Effect.as(
        Effect.addFinalizer(() => reserved.giveBack),
        reserved.connection
      )
    )
  )

  /** Whom a statement talks to: the transaction its fiber is in, or the pool. */
  channel(context: Context.Context<never>): Effect.Effect<Channel, SqlError.SqlError, Scope.Scope> {
    const known = this.knownChannel(context)
    return known === undefined ? this.pool : Effect.succeed(known)
  }

  private knownChannel(context: Context.Context<never>): Channel | undefined {
    const frame = frameOf(context, this.client)
    if (frame !== undefined) return this.channelOf(frame)
    const foreign = foreignConnection(context)
    if (foreign !== undefined) return new PoolChannel(on(foreign), this.options, undefined)
    if (this.ground !== undefined) return this.channelOf(this.ground)
    const held = heldOf(context, this.client)
    if (held !== undefined) return held.channel
    return this.constantPool
  }

  channelOf(frame: Frame): Channel {
    frame.channel ??= new FrameChannel(frame, this.options)
    return frame.channel
  }

  /** One statement, wherever the fiber that runs it stands: see {@link Channel.query}. */
  query(
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source,
    prepared = false,
    asLists = false,
    piggyback?: Piggyback
  ): Effect.Effect<Answer, SqlError.SqlError> {
    const once = (named: boolean) =>
      Effect.withFiberRuntime<Answer, SqlError.SqlError>((fiber) => {
        const known = this.knownChannel(fiber.currentContext)
        return known === undefined
          ? Effect.scoped(
              Effect.flatMap(this.pool, (channel) => channel.query(text, parameters, about, named, asLists, piggyback))
            )
          : known.query(text, parameters, about, named, asLists, piggyback)
      })
    if (!prepared || !this.options.prepare) return once(false)
    return Effect.catchAll(once(true), (error) => {
      const cause: { readonly code?: unknown; readonly message?: unknown } = Object(error.cause)
      const isRefused = isStale(cause.code, cause.message)
      const outdated = isRefused ? undefined : perhapsOutdated(cause)
      if (piggyback !== undefined)
        renamedWhereOutdated(
          cause,
          piggyback.behind.map(({ statement }) => statement)
        )
      if (!isRefused && outdated === undefined) return Effect.fail(error)
      if (isRefused) forgetPrepared()
      // Nothing of it was kept. Inside of a transaction the failure has aborted that.
      return Effect.withFiberRuntime(({ currentContext }) => {
        if (frameOf(currentContext, this.client) === undefined && foreignConnection(currentContext) === undefined)
          return isRefused ? once(true) : Effect.tap(once(false), () => Effect.sync(forgetPrepared))
        if (outdated !== undefined) renamed(outdated)
        return Effect.fail(error)
      })
    })
  }
}

/** The connection of a transaction that @effect/sql's own `withTransaction` opened: its client was not given by `Repo.layer`. */
export const foreignConnection = (context: Context.Context<never>): SqlConnection.Connection | undefined => {
  const found = Context.getOption(context, SqlClient.TransactionConnection)
  return found._tag === "Some" && !(found.value[0] instanceof FrameChannel) ? found.value[0] : undefined
}

const databases = new WeakMap<SqlClient.SqlClient, Database>()

/** The handles by which Repos have come to clients of a child. */
const handles = new WeakMap<Slot, Array<SqlClient.SqlClient>>()

/** For all handles of one client the same one; a client that is no handle as it is. */
const oneOf = (client: SqlClient.SqlClient): SqlClient.SqlClient => {
  const slot = slotOf(client)
  if (slot === undefined) return client
  const known = handles.get(slot) ?? []
  const one = known.find((other) => real(other) === real(client))
  if (one !== undefined) return one
  handles.set(slot, [...known, client])
  return client
}

/** What the client that a Repo's layer is given is made of, if that is a client of another Repo. */
const below = (client: SqlClient.SqlClient): SqlClient.SqlClient => {
  const own = real(client)
  const made = databases.get(own)?.client
  return made === undefined || made === own ? client : made
}

/** The database that a client reaches: one for each client, however often it is asked for. */
export const databaseOf = (given: SqlClient.SqlClient): Database => {
  const client = real(given)
  // Through a handle that is a use of it, which a tree wants to know of.
  if (given !== client) void given.reserve
  let database = databases.get(client)
  if (database === undefined) {
    database = new Database(client, { logParameters: false, prepare: true })
    databases.set(client, database)
  }
  return database
}

type WithTransaction = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError.SqlError, R>

/**
 * A client like `base`, whose statements find the transaction of *this* client (the tag of @effect/sql is one for all clients), whose `reserve` loses
 * no connection, and whose `withTransaction` is the one given.
 */
export const clientFor = (
  base: SqlClient.SqlClient,
  options: DatabaseOptions,
  withTransaction: (database: Database) => WithTransaction,
  instance?: Instance
): { readonly client: SqlClient.SqlClient; readonly database: Database } => {
  const database = new Database(below(base), options, instance)
  const acquirer: SqlConnection.Connection.Acquirer = Effect.withFiberRuntime((fiber) =>
    database.channel(fiber.currentContext)
  )
  const copy = (original: SqlClient.SqlClient): SqlClient.SqlClient => {
    const { compiler, spanAttributes, transformRows } = partsOf(original)
    // A fresh acquirer for each copy: @effect/sql keeps one constructor for each.
    const statements = Statement.make(
      Effect.suspend(() => acquirer),
      compiler,
      spanAttributes,
      transformRows
    )
    // The original's members, but for those that make statements: these are ours.
    const client: SqlClient.SqlClient = Object.assign(
      statements,
      original,
      { ...statements },
      {
        withTransaction: withTransaction(database),
        reserve: database.reserveScoped,
        withoutTransforms: () => plain()
      }
    )
    Object.assign(client, { safe: client })
    if (Predicate.hasProperty(original, "notify"))
      // The driver's own sends a parameter where NOTIFY takes none; this one also waits for the commit of the transaction it is in.
      Object.assign(client, {
        notify: (channel: string, payload: string) => Effect.asVoid(client`select pg_notify(${channel}, ${payload})`)
      })
    databases.set(client, database)
    return client
  }
  let untransformed: SqlClient.SqlClient | undefined
  const plain = () => {
    untransformed ??= copy(base.withoutTransforms())
    return untransformed
  }
  return { client: copy(base), database }
}

/**
 * The tag under which @effect/sql-pg provides this client beside the general one, if it does: by its name, so that the driver is not loaded here. A
 * client that was fetched by that tag has to find the same transactions.
 */
export const driverTag = (
  client: SqlClient.SqlClient
): Context.Tag<SqlClient.SqlClient, SqlClient.SqlClient> | undefined =>
  Predicate.hasProperty(client, "~@effect/sql-pg/PgClient")
    ? Context.GenericTag<SqlClient.SqlClient>("@effect/sql-pg/PgClient")
    : undefined
