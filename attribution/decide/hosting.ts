/**
 * Autonomous systems of clouds and server hosters: orders by people do not come from there. Operators of virtual private
 * networks or relays for people (M247, Datacamp, Cloudflare, Akamai's edge) are left out on purpose. The names are those
 * of the shipped list, which a test compares.
 */
export const HOSTING: ReadonlyMap<number, string> = new Map([
  [8_075, 'Microsoft Corporation'],
  [8_560, 'IONOS SE'],
  [12_876, 'Scaleway SAS'],
  [14_061, 'DigitalOcean, LLC'],
  [14_618, 'Amazon.com, Inc.'],
  [16_276, 'OVH SAS'],
  [16_509, 'Amazon.com, Inc.'],
  [19_318, 'Interserver, Inc'],
  [19_994, 'Rackspace Hosting'],
  [20_473, 'The Constant Company, LLC'],
  [24_940, 'Hetzner Online GmbH'],
  [26_347, 'New Dream Network, LLC'],
  [26_496, 'GoDaddy.com, LLC'],
  [27_357, 'Rackspace Hosting'],
  [28_753, 'Leaseweb Deutschland GmbH'],
  [29_802, 'HIVELOCITY, Inc.'],
  [30_633, 'Leaseweb USA, Inc.'],
  [31_898, 'Oracle Corporation'],
  [33_070, 'Rackspace Hosting'],
  [36_351, 'IBM Cloud'],
  [36_352, 'HostPapa'],
  [37_963, 'Hangzhou Alibaba Advertising Co.,Ltd.'],
  [40_676, 'Psychz Networks'],
  [45_090, 'Shenzhen Tencent Computer Systems Company Limited'],
  [45_102, 'Alibaba (US) Technology Co., Ltd.'],
  [46_606, 'Unified Layer'],
  [47_583, 'Hostinger International Limited'],
  [49_981, 'WorldStream B.V.'],
  [51_167, 'Contabo GmbH'],
  [53_667, 'FranTech Solutions'],
  [60_781, 'LeaseWeb Netherlands B.V.'],
  [62_240, 'Clouvider Limited'],
  [63_949, 'Akamai Technologies, Inc.'],
  [132_203, 'Shenzhen Tencent Computer Systems Company Limited'],
  [197_540, 'netcup GmbH'],
  [213_230, 'Hetzner Online GmbH'],
  [393_406, 'DigitalOcean, LLC'],
  [396_356, 'Latitude.sh'],
  [396_982, 'Google LLC'],
]);

/** Whether a network as contexts name it ("AS24940 Hetzner Online GmbH") is one of them. */
export function isHosting(network: string): boolean {
  return HOSTING.has(Number(/^AS(\d+)/.exec(network)?.[1]));
}
