/** How the story looks on the terminal: comments, numbered steps as they would be typed, what they log and what comes out. */
import { inspect } from "node:util"
import { Effect, Layer, Logger, LogLevel, Option } from "effect"

const colors = process.stdout.isTTY === true
const style = (code: number) => (text: string) => (colors ? `\u001b[${code}m${text}\u001b[0m` : text)
const [bold, dim, green] = [style(1), style(2), style(32)]

export const print = (text: string): Effect.Effect<void> => Effect.sync(() => process.stdout.write(`${text}\n`))

/** Words of the storyteller. */
export const tell = (text: string): Effect.Effect<void> => print(green(text.replaceAll(/^/gm, "# ")))

const shown = (value: unknown): string =>
  Option.isOption(value)
    ? Option.match(value, { onNone: () => "none", onSome: shown })
    : typeof value === "string"
      ? value
      : value instanceof Error
        ? value.message
        : inspect(value, { colors, breakLength: 100 })

/** What stands between `() =>` and the end, without the indentation it has in its file. */
const sourceOf = (expression: () => unknown): string => {
  const lines = String(expression)
    .replace(/^\(\) => /, "")
    .split("\n")
  const margin = Math.min(...lines.slice(1).map((line) => line.search(/\S/)))
  return lines.map((line, index) => (index === 0 ? line : line.slice(margin))).join("\n")
}

let steps = 0

/** Prints the very expression that it then runs, and what comes out of it. */
export const step = <A, E, R>(expression: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    steps += 1
    return print(bold(`effecto(${steps})> ${sourceOf(expression)}`))
  }).pipe(
    Effect.zipRight(Effect.suspend(expression)),
    Effect.tap((value) => print(value === undefined ? "" : `${shown(value)}\n`)),
    Effect.tapError((error) => print(`** failed: ${shown(error)}\n`))
  )

const time = (date: Date): string =>
  `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`

/** `13:12:09.861 [debug] message`, from Debug upwards. */
export const logging = Layer.mergeAll(
  Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ date, logLevel, message }) => {
      const parts = Array.isArray(message) ? message : [message]
      const text = parts.map((part) => (typeof part === "string" ? part : inspect(part))).join(" ")
      process.stdout.write(dim(`${time(date)} [${logLevel.label.toLowerCase()}] ${text}\n`))
    })
  ),
  Logger.minimumLogLevel(LogLevel.Debug),
  // What the story fails with is reported once, at its end.
  Layer.setUnhandledErrorLogLevel(Option.none())
)
