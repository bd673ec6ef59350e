// The generator of made-up specimens: tiny kernels, booted on paper, with image, modules and dump. They need nothing
// but Node, so the demo and the fast tests run anywhere.

export { type Demo, demos } from "./demos.ts";
export {
  makeSpecimen,
  type Specimen,
  type SpecimenOptions,
  type SpecimenTruth,
  type TrueFinding,
} from "./kernel-6x/specimen.ts";
export { type BugOptions, type BugSpecimen, type BugTruth, makeBugSpecimen } from "./kernel-30/specimen.ts";
export type { Story, Variant } from "./kernel-30/story.ts";
export type { TrueSite } from "./machine/boot-patcher.ts";
