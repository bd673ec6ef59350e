// One page as the libraries themselves packed it (libsnappy 1.1.9, liblzo2 2.10 lzo1x_1), which is how makedumpfile packs.

/** The page: stretches that repeat and stretches that do not. */
export function packedPageContent(): Uint8Array {
  return Uint8Array.from({ length: 4096 }, (_, i) =>
    (i >> 5) % 7 === 3 ? (i * 37 + (i >> 8)) & 255 : 0x41 + (i % 13),
  );
}

const base64 = {
  snappy: [
    "gCAwQUJDREVGR0hJSktMTf4NAEoNAHzgBSpPdJm+4wgtUnecweYLMFV6n8TpDjNYfaLH7BE2W/51AFJ1AP7QAGrQAD5bAHxBZouw1fofRGmOs9",
    "j9IkdskbbbACVKb5S53gMoTXKXvP5fAXpfAT6PAP7HAULHASmmZIClyu8UOV6DqM3yFzxhhqvQ9Ro/ZImu0/gd/oIAhoIA/iICdiICKaZk4QYr",
    "UHWav+QJLlN4ncLnDDFWe6DF6g80WX7+UgFGUgH+0AB20AA+cAIUY4it0vccZqYC/o8Auo8A/i8CQi8CLkwETqYCQhEB/oIAQoIA/iICdiICLk",
    "wETqYC/tAA/tAAvtAAPnACLkwETEJnjLHW+yBFao+02f4jSG2St9wB/l8Bel8BPo8A/i8CQi8CLkwETKPI7RI3XIGmy/AVOl+Eqc7zGD1i/oIA",
    "hoIA/iICdiICKaZkJktwlbrfBClOc5i94gcsUXabwOUKL1R5nsP+UgFGUgH+0AB20AA+cAIppmSHrNH2G0Bliq/U+R5DaI2y1/whRmuQtdr/JP",
    "6PALqPAP4vAkIvAimmZOgNMld8ocbrEDVaf6TJ7hM4XYKnzPEWO2CFQhEB/oIAQoIA/iICdiICLkwETqYC/tAA/tAAvtAAPnACLkwETqYC/l8B",
    "el8BPo8A/i8CQi8CLkwETqYC/oIAhoIA/iICdiICLkwEKEluk7jdAidMcZa7IjcN/lIBRlIB/tAAdtAAPnACLkwEEKrP9Bk+OpEK/o8Auo8A/i",
    "8CQi8Cct0OCIClykIRAf6CAEKCAPYiAg==",
  ],
  lzo: [
    "CkFCQ0RFRkdISUpLTE0gMjAAAA7gBSpPdJm+4wgtUnecweYLMFV6n8TpDjNYfaLH7BE2WyA00AEgOjwDLmgBABJBZouw1fofRGmOs9j9Ikdskb",
    "bbACVKb5S53gMoTXKXvEJDREUuzAAgN6wFIDOcAbQ0AAmApcrvFDleg6jN8hc8YYar0PUaP2SJrtP4HUUgM9ABIEpQCLQ0AAjhBitQdZq/5Aku",
    "U3idwucMMVZ7oMXqDzRZfiA4YAwgRtwEA2OIrdL3HDiUCiA11A8gRnMDRUZHKiwRMpQKIDJIEyBJcwNISUoqLBEylAognXYRTE0qLBEAAkJnjL",
    "HW+yBFao+02f4jSG2St9wBIDlkGiBFGAcqLBEAAqPI7RI3XIGmy/AVOl+Eqc7zGD1iIDbYHSBFcwNERUa0NAAIJktwlbrfBClOc5i94gcsUXab",
    "wOUKL1R5nsMgM0whIEhzA0dISbQ0AAmHrNH2G0Bliq/U+R5DaI2y1/whRmuQtdr/JEMgngAOtDQACOgNMld8ocbrEDVaf6TJ7hM4XYKnzPEWO2",
    "CFIEusBSAzLAwqLBEylAogiywmMlgkKiwRMpQKMswAIItMByosETKUCiCffC0qLBEISW6TuN0CJ0xxlrsn2DQgn3wtKiwRAqrP9Bk+LUAqIJ98",
    "LTtzO4ClyiBrfC0AAkhJSktMTUFCQ0RFRkdISUpLTE1BEQAA",
  ],
};

export function packedPage(codec: keyof typeof base64): Uint8Array {
  return Uint8Array.from(atob(base64[codec].join("")), (char) => char.charCodeAt(0));
}
