// What follows from an object that does not change (an index over its parts), kept with that object: it goes when the object goes, and no
// module remembers anything.

const DERIVED = Symbol("derived");

type Owner = object & { [DERIVED]?: Map<unknown, unknown> };

/** The result of `make`, which is called once an owner. `make` must be one function, not one made for each call. */
export function derived<O extends object, T>(owner: O, make: (owner: O) => T): T {
  const holder = owner as Owner;
  // A changed object inherits from the one that it was made of: what followed from that one is not its own.
  if (!Object.hasOwn(holder, DERIVED)) Object.defineProperty(holder, DERIVED, { value: new Map() });
  const own = holder[DERIVED] as Map<unknown, unknown>;
  if (!own.has(make)) own.set(make, make(owner));
  return own.get(make) as T;
}
