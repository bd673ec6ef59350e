// What results call the tool that made them. A constant and no file read: the library runs where there are no files. A test
// holds it to package.json.
export const VERSION = "0.1.0";
/** "palimpsest 0.1.0", in every result. */
export const TOOL = `palimpsest ${VERSION}`;
