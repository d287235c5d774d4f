/**
 * Keeps the caches of several processes coherent: what one of them commits, the others forget.
 *
 * With `ChangeFeed.layer()` in its context, a `RepoCache` forgets what other processes have changed. Each transaction that changes rows notifies the others
 * with one `pg_notify`, sent together with its COMMIT: PostgreSQL delivers that with the commit, in the order of the commits, and never if it is rolled back.
 * Each process listens on one connection beside its pool.
 *
 * ```text
 *   process A   write ─▶ pg_notify, COMMIT ──▶ its own caches forget ─▶ its result
 *   process B                           └─────▶ heard ─▶ its caches forget
 *
 *   B's connection ends, or it does not hear its own probe  ──▶ blind: its caches are read around (or served, with `whileBlind: "serve"`)
 *   it hears again, and has proven it                       ──▶ everything is forgotten, and then the caches are served again
 * ```
 *
 * So what is read in a process is never older than the last commit that this process made, and never older than what others had committed when their notification
 * arrived, which takes milliseconds. A connection that is lost without anybody being told is noticed within `probe` and `patience`, so nothing is served
 * that is older than the two together (7 seconds, if nothing is said); with `whileBlind: "serve"`, nothing older than the outage, and the lifetimes of the entries.
 *
 * It follows the Repo, where that is a child of a tree: when it is restarted the feed is blind, and connects again by the client of the next instance.
 *
 * A gap in what a sender has sent, or a message that cannot be understood, makes everything be forgotten. What is written outside of Repos is heard of where
 * the table has the trigger of {@link installTrigger}, or by `Announcement.touch`.
 *
 * It is *not* a queue: it does not keep what nobody heard. It does not work through a pooler that lends connections to one transaction at a time (PgBouncer's
 * transaction mode), which it notices when it starts: give it a client of its own then (`through`).
 *
 * @since 0.1.0
 */
import { SqlClient, type SqlError } from "@effect/sql"
import * as Announcement from "@effecto/core/Announcement"
import { millisFrom } from "@effecto/core/internal/durations"
import * as Notification from "@effecto/core/Notification"
import { Repo } from "@effecto/core/Repo"
import type { StatementError } from "@effecto/core/RepoError"
import type * as Table from "@effecto/core/Table"
import {
  Cause,
  type Clock,
  Context,
  Data,
  Deferred,
  Duration,
  Effect,
  Exit,
  Layer,
  PubSub,
  Random,
  Runtime,
  Schedule,
  Scope,
  Stream
} from "effect"
import { type Eye, type Hub, hubOf, type Subscriber } from "./feedhub.js"
import { Attendance, type Ledger } from "./feedledger.js"
import { Deaf, Listener, Lost, Renewed } from "./feedlistener.js"
import { decode, encode, encodeProbe, numberOfOwn } from "./feedmessage.js"
import { FeedMeter } from "./feedmeter.js"
import * as trigger from "./feedtrigger.js"

/**
 * What happened to a feed. `lag` is how long it took from the moment the change was notified, with its COMMIT, until it was forgotten here, in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export type Event =
  | { readonly _tag: "Listening" }
  | { readonly _tag: "Blind"; readonly reason: unknown }
  | {
      readonly _tag: "Heard"
      readonly changes: ReadonlyArray<Announcement.Change> | "all"
      readonly lag: number | undefined
    }
  | { readonly _tag: "Forgotten"; readonly reason: "gap" | "unreadable" }

/**
 * A feed that runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** Whether what others change is heard of now. */
  readonly status: Effect.Effect<"listening" | "blind">
  /** What happens from when the stream is run on. A reader who is slower than the feed loses the oldest. */
  readonly events: Stream.Stream<Event>
  /** Has a cache of another kind told, for the length of a scope: its functions are called synchronously, and must not throw. */
  readonly subscribe: (subscriber: Subscriber) => Effect.Effect<void, never, Scope.Scope>
}

export type { Subscriber } from "./feedhub.js"

/**
 * The feed of a database.
 *
 * @since 0.1.0
 * @category tags
 */
export class ChangeFeed extends Context.Tag("@effecto/cache/ChangeFeed")<ChangeFeed, Service>() {}

/**
 * How changes are sent and heard.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The channel of PostgreSQL, the same for all processes. `effecto_changes` if nothing is said. */
  readonly channel?: string | undefined
  /**
   * What caches do while nothing can be heard. `"bypass"`, the default: every read goes to the database, and nothing is kept. `"serve"`: what is held is
   * served, and loads are kept, so it may be as old as the outage is long, and no older than its lifetimes; when the feed hears again all of it is forgotten. A
   * cache's `grace` is of use with this one only: when the server is gone the feed is blind too, and reads that go round the cache fail.
   */
  readonly whileBlind?: "serve" | "bypass" | undefined
  /** How often the feed sends itself a probe to find out whether it still hears. 5 seconds by default. */
  readonly probe?: Duration.DurationInput | undefined
  /** How long it waits for it. 2 seconds by default. */
  readonly patience?: Duration.DurationInput | undefined
  /**
   * How long it waits before it connects again. By default between 0.1 and 5 seconds, doubling, for ever. When the schedule ends so does the feed, which is the
   * crash of the child it belongs to.
   */
  readonly backoff?: Schedule.Schedule<unknown> | undefined
  /** The client whose server is listened to, where the Repo's goes through a pooler. */
  readonly through?: SqlClient.SqlClient | undefined
}

/**
 * The feed listens, and does not hear itself.
 *
 * @since 0.1.0
 * @category errors
 */
export class FeedDeaf extends Data.TaggedError("FeedDeaf")<{ readonly channel: string; readonly patience: string }> {
  override get message(): string {
    return `the change feed on channel ${JSON.stringify(this.channel)} did not hear its own probe within ${this.patience}: either the server is too busy, which a longer patience helps against, or something in between lends its connections to one transaction at a time, as PgBouncer does in its transaction mode. Give it a client that reaches the server itself as "through"`
  }
}

/**
 * The feed's connection ended before it could hear itself.
 *
 * @since 0.1.0
 * @category errors
 */
export class FeedLost extends Data.TaggedError("FeedLost")<{ readonly channel: string }> {
  override get message(): string {
    return `the change feed on channel ${JSON.stringify(this.channel)} could not begin: its connection was ended, by the server or on the way to it, before it heard its own probe. If the server was just being restarted, start the feed again, as a supervision tree does`
  }
}

const DEFAULT_CHANNEL = "effecto_changes"
const DEFAULT_BACKOFF: Schedule.Schedule<unknown> = Schedule.exponential("100 millis").pipe(
  Schedule.union(Schedule.spaced("5 seconds")),
  Schedule.jittered
)
/** Events that are kept for a slow reader. */
const ROOM = 1_024

class Feed implements Eye {
  isBlind = true
  readonly whileBlind: "serve" | "bypass"
  readonly meter: FeedMeter
  private readonly attendance = new Attendance()
  private hasWarned = false
  private hasListened = false
  private isClosed = false
  /** By how much the server's clock is ahead of ours, as far as we know. */
  offset: number | undefined = undefined
  listener: Listener<StatementError> | undefined = undefined

  constructor(
    options: Options,
    readonly channel: string,
    readonly ledger: Ledger,
    private readonly hub: Hub,
    private readonly runtime: Runtime.Runtime<never>,
    private readonly clock: Clock.Clock,
    private readonly told: PubSub.PubSub<Event>
  ) {
    this.whileBlind = options.whileBlind ?? "bypass"
    this.meter = new FeedMeter(channel)
  }

  tell(event: Event): void {
    this.told.unsafeOffer(event)
  }

  log(effect: Effect.Effect<void>): void {
    Runtime.runFork(this.runtime, effect)
  }

  readonly see = (): void => {
    this.attendance.clear()
    this.hub.see(this)
    this.meter.isListening(true)
    this.tell({ _tag: "Listening" })
    this.log(
      this.hasListened
        ? Effect.logInfo(`the change feed on ${this.channel} listens again: everything kept was forgotten`)
        : Effect.logDebug(`the change feed on ${this.channel} listens`)
    )
    this.hasListened = true
  }

  /** Whoever is left of those who subscribed is held from now on: until another feed comes. */
  readonly close = (): void => {
    this.isClosed = true
    this.isBlind = true
    this.hub.leave(this)
    this.meter.closed()
  }

  readonly blind = (reason: unknown): void => {
    if (this.isBlind || this.isClosed) return
    this.hub.blind(this)
    this.meter.isListening(false)
    this.tell({ _tag: "Blind", reason })
    const what = this.whileBlind === "bypass" ? "are read around" : "may serve what others have changed"
    this.log(
      Effect.logWarning(`the change feed on ${this.channel} does not hear: until it does, caches ${what}`, reason)
    )
  }

  private forgetAll(reason: "gap" | "unreadable"): void {
    this.hub.forgetAll()
    this.meter.forgot(reason)
    this.tell({ _tag: "Forgotten", reason })
  }

  private unreadable(problem: string): void {
    this.forgetAll("unreadable")
    if (this.hasWarned) return
    this.hasWarned = true
    this.log(
      Effect.logWarning(
        `a message on ${this.channel} ${problem}: everything is forgotten each time that such a message comes, and this is said once`
      )
    )
  }

  readonly heard = (payload: string): void => {
    const own = numberOfOwn(payload, this.ledger.sender)
    // What a process has written itself it has forgotten already, unless it could not know.
    if (own !== undefined && !this.ledger.isNews(own)) return
    const message = decode(payload)
    if ("problem" in message) {
      this.unreadable(message.problem)
      return
    }
    const { at, changes, probe, stamp } = message
    if (stamp?.sender === this.ledger.sender) {
      if (probe !== undefined) this.listener?.heard(probe)
      if (own === undefined) return
    } else if (stamp !== undefined && this.attendance.misses(stamp)) this.forgetAll("gap")
    if (changes.length === 0) return
    this.hub.forget(changes)
    const lag =
      at === undefined || this.offset === undefined
        ? undefined
        : Math.max(0, this.clock.unsafeCurrentTimeMillis() + this.offset - at)
    this.meter.heard(lag)
    this.tell({ _tag: "Heard", changes, lag })
  }
}

/** Compares the server's clock with ours, for the lag alone. */
const compareClocks = (feed: Feed, client: SqlClient.SqlClient): Effect.Effect<void> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const before = clock.unsafeCurrentTimeMillis()
    const [row] = yield* client<{ now: number }>`select (extract(epoch from clock_timestamp()) * 1000)::float8 as now`
    if (row !== undefined) feed.offset = row.now - (before + clock.unsafeCurrentTimeMillis()) / 2
  }).pipe(Effect.ignore)

/** With the server's time behind what was changed. */
const NOTIFY = "select pg_notify($1, $2::text || (date_part('epoch', clock_timestamp()) * 1000)::bigint::text || '}')"

/** In the transaction that is about to be committed. */
const notifying =
  (channel: string, ledger: Ledger): Announcement.WithCommit =>
  (changes, onEnd) => {
    const number = ledger.next()
    const head = encode(ledger.stamp(number), changes)
    // Afterwards, for it may be told at once.
    onEnd((outcome) => ledger.settle(number, outcome))
    return { text: NOTIFY, parameters: [channel, head] }
  }

/**
 * Makes a feed that lives as long as its scope. Fails when it cannot listen at first, or does not hear itself; afterwards it connects again by itself.
 *
 * While there is one, each transaction with changes has one statement more, which is sent with its COMMIT. A write outside of any transaction is sent together
 * with that where its key is a number, a bigint or a boolean, or several of these, and otherwise gets a transaction of its own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<Service, StatementError | FeedDeaf | FeedLost, Repo | Scope.Scope> =>
  Effect.gen(function* () {
    const repo = yield* Repo
    // One for all instances of the Repo, where that is a child of a tree; its client is that of the current one.
    const { announcer } = repo
    const client = () => announcer.client
    const hub = hubOf(announcer)
    const told = yield* PubSub.sliding<Event>(ROOM)
    const words = yield* Effect.replicateEffect(Random.nextIntBetween(0, 2 ** 31), 3)
    const sender = words.map((word) => word.toString(36)).join("")
    const channel = options.channel ?? DEFAULT_CHANNEL
    const runtime = yield* Effect.runtime<never>()
    // For good, and not for this scope: see Hub.
    const ledger = hub.ledger(channel, sender, (begun) => {
      Runtime.runSync(
        runtime,
        Announcement.withCommit(notifying(channel, begun)).pipe(
          Effect.provideService(Repo, repo),
          Scope.extend(Effect.runSync(Scope.make()))
        )
      )
    })
    const feed = new Feed(options, channel, ledger, hub, runtime, yield* Effect.clock, told)
    const within = Duration.millis(millisFrom("patience", options.patience ?? "2 seconds"))

    const line = (through: SqlClient.SqlClient, heard: (payload: string) => void, onEnd?: () => void) =>
      Notification.listen(feed.channel, heard, { onEnd }).pipe(
        Effect.map(({ close, ended, notify }) => ({
          close,
          ended,
          send: (payload: string) => notify(payload, Duration.toMillis(within) + 1_000)
        })),
        Effect.provideService(SqlClient.SqlClient, through)
      )
    const through = () => options.through ?? client()
    const lines = new Set<Effect.Effect<void>>()
    const listener = new Listener<StatementError>({
      open: Effect.gen(function* () {
        const at = through()
        const opened = yield* line(at, feed.heard, () => feed.blind(new Lost()))
        yield* Effect.acquireRelease(
          Effect.sync(() => lines.add(opened.close)),
          () => Effect.sync(() => lines.delete(opened.close))
        )
        // It may be the server of an instance that has just been replaced.
        if (through() !== at) yield* opened.close
        yield* Effect.forkScoped(Effect.interruptible(compareClocks(feed, client())))
        return opened
      }),
      other: Effect.suspend(() => line(through(), () => {})),
      payload: (probe) => encodeProbe(feed.ledger.stamp(undefined), probe),
      see: feed.see,
      blind: feed.blind,
      every: Duration.millis(millisFrom("probe", options.probe ?? "5 seconds")),
      within,
      backoff: options.backoff ?? DEFAULT_BACKOFF
    })
    feed.listener = listener

    yield* Effect.acquireRelease(
      Effect.sync(() => hub.join(feed)),
      () => Effect.sync(feed.close)
    )
    // What it listens to may be the server of the instance before.
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        announcer.onRenewal(() => {
          if (options.through !== undefined) return
          feed.blind(new Renewed())
          for (const close of lines) Runtime.runFork(runtime, close)
        })
      ),
      (end) => Effect.sync(end)
    )
    const first = yield* Deferred.make<void, StatementError | Deaf | Lost>()
    yield* Effect.forkScoped(
      // However it ends, nothing is heard from then on. Interruptible, also where the feed is made in a region that is not: it ends with its scope.
      Effect.onExit(Effect.interruptible(listener.run(first)), (exit) =>
        Effect.sync(() => {
          feed.blind(Exit.isFailure(exit) ? Cause.squash(exit.cause) : new Lost())
          Deferred.unsafeDone(first, Exit.isFailure(exit) ? exit : Effect.fail(new Lost()))
        })
      )
    )
    // Before its fiber is interrupted, whose connection's end is then no outage.
    yield* Effect.addFinalizer(() => Effect.sync(feed.close))
    yield* Effect.mapError(Deferred.await(first), (error) =>
      error instanceof Deaf
        ? new FeedDeaf({ channel: feed.channel, patience: Duration.format(within) })
        : error instanceof Lost
          ? new FeedLost({ channel: feed.channel })
          : error
    )
    return {
      status: Effect.sync(() => (feed.isBlind ? "blind" : "listening")),
      events: Stream.fromPubSub(told),
      subscribe: (subscriber) =>
        Effect.asVoid(
          Effect.acquireRelease(
            Effect.sync(() => hub.subscribe(subscriber)),
            (end) => Effect.sync(end)
          )
        )
    } satisfies Service
  })

/**
 * Provides the feed: put it below the caches and above the Repo.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { ChangeFeed, RepoCache } from "@effecto/cache"
 * import { Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Schema, Stream } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id int primary key, name text not null)`
 *   yield* Repo.insert(People, { id: 1, name: "Ada" })
 *   yield* ChangeFeed.installTrigger(People) // as a migration: for what others than Repos write
 *   yield* RepoCache.fetch(People, 1)
 *
 *   const feed = yield* ChangeFeed.ChangeFeed
 *   const heard = yield* feed.events.pipe(
 *     Stream.takeUntil((event) => event._tag === "Heard"),
 *     Stream.runDrain,
 *     Effect.fork
 *   )
 *   yield* sql`update people set name = 'Ada Lovelace'` // by hand, as psql would
 *   yield* heard // some milliseconds later
 *   console.log((yield* RepoCache.fetch(People, 1)).name) // Ada Lovelace
 * })
 *
 * const Live = RepoCache.layer(People, { idle: "10 minutes" }).pipe(
 *   Layer.provideMerge(ChangeFeed.layer()),
 *   Layer.provideMerge(Repo.layer()),
 *   Layer.provide(EmbeddedPostgres)
 * )
 *
 * Effect.runPromise(program.pipe(Effect.provide(Live)))
 * ```
 */
export const layer = (options?: Options): Layer.Layer<ChangeFeed, StatementError | FeedDeaf | FeedLost, Repo> =>
  Layer.scoped(ChangeFeed, make(options))

/**
 * How a table's trigger notifies. Statements that change more than `maxKeys` rows (100 if nothing is said) name the table and no keys.
 *
 * @since 0.1.0
 * @category models
 */
export interface TriggerOptions {
  readonly channel?: string | undefined
  readonly maxKeys?: number | undefined
}

/**
 * The SQL of {@link installTrigger}, for migrations that are texts. It can be run again.
 *
 * @since 0.1.0
 * @category triggers
 */
export const triggerSql = (table: Table.Any, options: TriggerOptions = {}): string =>
  trigger.install(table, options.channel ?? DEFAULT_CHANNEL, options.maxKeys ?? 100)

const script = (text: string): Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.asVoid(sql.unsafe(text)))

/**
 * Has a table tell the feed of every change by itself, whoever makes it: psql, another program, `on delete cascade`. An effect for a migration. One
 * notification for each statement that changed something, with the keys of the rows, where it is sure what they are in a program: where the model takes
 * numbers, texts, bigints or booleans as they come, from columns whose types are written alike for everybody. Otherwise it names the table, by the name it has
 * when it is written. Statements that name a partition of it, or a table that inherits from it, do not run it.
 *
 * What a Repo writes is then told twice, which makes the writer's own process read the row once more.
 *
 * @since 0.1.0
 * @category triggers
 */
export const installTrigger = (
  table: Table.Any,
  options?: TriggerOptions
): Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> => script(triggerSql(table, options))

/**
 * Takes away what {@link installTrigger} made.
 *
 * @since 0.1.0
 * @category triggers
 */
export const uninstallTrigger = (table: Table.Any): Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> =>
  script(trigger.uninstall(table))
