/**
 * Who a service is, for those who remember something by it: a handle looks like its service and is another object, and each instance of a child
 * has services of its own.
 */
import type { Instance, Slot } from "./instance.js"

/** Asked for under this key, a handle answers with what it stands for. */
export const StandsFor: unique symbol = Symbol("@effecto/core/supervision/StandsFor")

/** What a handle stands for. */
export class Standing {
  constructor(
    /** The place where the current instance is found. */
    readonly slot: Slot,
    /** The service itself, of the current instance, or of the last one while the child is down. It may be a handle again. */
    readonly service: object
  ) {}
}

const standing = (value: object): Standing | undefined => {
  // Whatever an object has under that key is of this class, if it is a handle's answer.
  const found: unknown = (value as { readonly [StandsFor]?: unknown })[StandsFor]
  return found instanceof Standing ? found : undefined
}

/** The place where the current instance of a handle's child is found; none for a service that is no handle. */
export const slotOf = (value: object): Slot | undefined => standing(value)?.slot

/** The service itself, where it may have come as a handle. To ask is no use of it. */
export const real = <S extends object>(service: S): S => {
  let at: object = service
  for (let on = standing(at); on !== undefined; on = standing(at)) at = on.service
  return at as S // a handle is typed as the service it stands for
}

/** A child through all its restarts, and those of the trees that it lives in. */
export interface Lineage {
  /** Of the outermost child that is restarted by itself. */
  readonly root: object
  /** Which one it is of those below that. */
  readonly name: string
}

/** A tree that an instance was built by. A dynamic one draws itself, and begins without children whenever it is built anew. */
interface Owner {
  readonly parent: Instance | undefined
  readonly draw?: unknown
}

const names = new WeakMap<Slot, string>()

/** The name that a child had when it was first asked for: one without an id gets another when it is up. */
const nameOf = (slot: Slot): string => {
  const name = names.get(slot) ?? slot.path
  names.set(slot, name)
  return name
}

export const lineageOf = (instance: Instance): Lineage => {
  let at = instance
  for (;;) {
    const { draw, parent } = at.owner as Owner // whoever built it is a supervisor, static or dynamic
    if (draw !== undefined || parent === undefined) return { root: at.slot, name: nameOf(instance.slot) }
    at = parent
  }
}
