/**
 * What a dynamic supervisor was told, checked: a number out of range, or an option without a meaning here, is a defect that says
 * so.
 */
import { checked } from "../durations.js"
import type { Options, StartOptions } from "./DynamicSupervisor.js"
import type { ChildSettings } from "./dynamicchild.js"
import { Ignored } from "./dynamicerror.js"
import type { Settings } from "./dynamicruntime.js"
import type { RestartType } from "./machine.js"
import { SupervisorConfigError } from "./SupervisionError.js"

export const refuse = (path: string, problem: string): never => {
  throw new SupervisorConfigError({ path, problem })
}

const restartTypes: { readonly [_ in RestartType]: true } = { permanent: true, transient: true, temporary: true }

/** Of a static supervisor and its children, and without a meaning here. */
const foreign = ["strategy", "autoShutdown", "significant"]

export const settingsOf = <Arg, Handle, E, R>(options: Options<Arg, Handle, E, R>) => {
  const {
    child,
    intensity = 3,
    maxChildren = Number.POSITIVE_INFINITY,
    name = "dynamic",
    period = "5 seconds",
    restart = "permanent",
    shutdown,
    startTimeout,
    whenDown
  } = options
  const bad = (problem: string): never => refuse(name, problem)
  const read = checked(bad)
  for (const option of foreign) {
    if (option in options)
      bad(`there is no option ${option}: a dynamic supervisor is one_for_one, and does not end with its children`)
  }
  if (name === "") bad("the name is empty; it is the first part of every path")
  if (!Number.isInteger(intensity) || intensity < 0) bad(`intensity is ${intensity}; it has to be an integer from 0 up`)
  if (maxChildren !== Number.POSITIVE_INFINITY && (!Number.isInteger(maxChildren) || maxChildren < 0)) {
    bad(`maxChildren is ${maxChildren}; it has to be an integer from 0 up, or Infinity`)
  }
  const periodMillis = read.millis("period", period)
  if (periodMillis <= 0) bad(`period is ${periodMillis} ms; it has to be above 0`)

  const whenDownMillis = whenDown === "fail" ? "fail" : read.millis("whenDown", whenDown?.await ?? "5 seconds")
  const childSettings = (own: StartOptions): ChildSettings => {
    const type = own.restart ?? restart
    const stop = own.shutdown ?? shutdown
    const timeout = own.startTimeout ?? startTimeout
    if (!Object.hasOwn(restartTypes, type)) {
      bad(`restart is "${type}"; it has to be one of ${Object.keys(restartTypes).join(", ")}`)
    }
    return {
      restart: type,
      shutdown: read.shutdown(stop),
      startTimeout: timeout === undefined ? undefined : read.millis("startTimeout", timeout),
      whenDown: whenDownMillis
    }
  }
  const defaults = childSettings({})
  const settings: Settings<Arg> = {
    name,
    child,
    defaults,
    isIgnored: (failure) => failure instanceof Ignored,
    intensity,
    period: periodMillis,
    maxChildren
  }
  const overrides = (own: StartOptions): ChildSettings =>
    own.restart === undefined && own.shutdown === undefined && own.startTimeout === undefined
      ? defaults
      : childSettings(own)
  return { settings, overrides }
}
