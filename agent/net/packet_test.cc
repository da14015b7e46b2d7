#include "agent/net/packet.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "agent/net/packet_dice.h"

namespace squall {
namespace {

std::string Bytes(const std::vector<int>& values) { return std::string(values.begin(), values.end()); }

uint16_t Sum(const std::string& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) sum += static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (i % 2 ? 0 : 8);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// What a receiver computes: 0xffff when the checksum is right.
uint16_t Verify(const std::string& bytes, const Packet& packet) {
  std::string covered = bytes[0] >> 4 == 4 ? bytes.substr(12, 8) : bytes.substr(8, 32);
  const size_t length = packet.size - packet.transport;
  covered += Bytes({0, packet.protocol, static_cast<int>(length >> 8), static_cast<int>(length & 0xff)});
  return Sum(covered + bytes.substr(packet.transport, length));
}

void SetChecksum(std::string& bytes, size_t at) {
  const Packet packet = *ParsePacket(bytes);
  bytes[at] = bytes[at + 1] = 0;
  const uint16_t sum = static_cast<uint16_t>(~Verify(bytes, packet));
  bytes[at] = static_cast<char>(sum >> 8);
  bytes[at + 1] = static_cast<char>(sum);
}

// 10.0.0.1:258 to 10.0.0.2:772, "hello".
std::string Udp4() {
  std::string bytes = Bytes({0x45, 0, 0, 33, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,  //
                             1, 2, 3, 4, 0, 13, 0, 0}) + "hello";
  SetChecksum(bytes, 26);
  return bytes;
}

// [fd00::1]:258 to [fd00::2]:772, behind a destination options header; an option makes the TCP header 24 bytes. "odd".
std::string Tcp6() {
  std::string bytes = Bytes({0x60, 0, 0, 0, 0, 35, 60, 64, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,  //
                             0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,                                //
                             6, 0, 1, 4, 0, 0, 0, 0,                                                          //
                             1, 2, 3, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0x60, 0x02, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1}) + "odd";
  SetChecksum(bytes, 40 + 8 + 16);
  return bytes;
}

TEST(ParsePacket, ReadsAnIpv4Datagram) {
  const std::optional<Packet> packet = ParsePacket(Udp4());
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->protocol, IPPROTO_UDP);
  EXPECT_EQ(packet->source.ToString(), "10.0.0.1:258");
  EXPECT_EQ(packet->destination.ToString(), "10.0.0.2:772");
  EXPECT_EQ(packet->payload, 28u);
  EXPECT_EQ(packet->size, 33u);
}

TEST(ParsePacket, ReadsAnIpv6SegmentBehindAnExtensionHeader) {
  const std::optional<Packet> packet = ParsePacket(Tcp6());
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->protocol, IPPROTO_TCP);
  EXPECT_EQ(packet->source.ToString(), "[fd00::1]:258");
  EXPECT_EQ(packet->payload, 40u + 8 + 24);
  EXPECT_EQ(packet->size, 75u);
  EXPECT_TRUE(packet->opens);
}

TEST(ParsePacket, TakesNoFragmentsAndNoHeadersThatAreCutShort) {
  std::string fragment = Udp4();
  fragment[6] = 0x20;  // more fragments
  EXPECT_FALSE(ParsePacket(fragment));
  for (const std::string& whole : {Udp4(), Tcp6()}) {
    const size_t payload = ParsePacket(whole)->payload;
    for (size_t size = 0; size < whole.size(); ++size) {
      // A TCP header's options are not needed to tell whose packet it is.
      EXPECT_EQ(ParsePacket(whole.substr(0, size)).has_value(), size >= payload - (whole == Tcp6() ? 4 : 0)) << size;
    }
  }
}

TEST(ParsePacket, SurvivesAnyByteAnywhere) {
  for (const std::string& whole : {Udp4(), Tcp6()}) {
    for (size_t at = 0; at < whole.size(); ++at) {
      for (int value = 0; value < 256; ++value) {
        std::string bytes = whole;
        bytes[at] = static_cast<char>(value);
        const std::optional<Packet> packet = ParsePacket(bytes);
        EXPECT_TRUE(!packet || packet->payload <= packet->size);
      }
    }
  }
}

TEST(FlipBit, ChangesOneBitAndLeavesTheChecksumWrong) {
  for (const std::string& whole : {Udp4(), Tcp6()}) {
    const Packet packet = *ParsePacket(whole);
    for (size_t bit = 0; bit < 8 * (packet.size - packet.payload); ++bit) {
      std::string bytes = whole;
      FlipBit(bytes, packet, bit, /*right_checksum=*/false);
      EXPECT_EQ(bytes[packet.payload + bit / 8] ^ whole[packet.payload + bit / 8], 1 << (bit % 8) > 127 ? -128 : 1 << (bit % 8));
      EXPECT_NE(Verify(bytes, packet), 0xffff);
    }
  }
}

TEST(FlipBit, CarriesTheChecksumAlong) {
  for (const std::string& whole : {Udp4(), Tcp6()}) {
    const Packet packet = *ParsePacket(whole);
    ASSERT_EQ(Verify(whole, packet), 0xffff);
    for (size_t bit = 0; bit < 8 * (packet.size - packet.payload); ++bit) {
      std::string bytes = whole;
      FlipBit(bytes, packet, bit, /*right_checksum=*/true);
      EXPECT_NE(bytes, whole);
      EXPECT_EQ(Verify(bytes, packet), 0xffff) << bit;
    }
  }
}

TEST(FlipBit, GivesADatagramWithoutAChecksumOneThatIsWrong) {
  std::string bytes = Udp4();
  bytes[26] = bytes[27] = 0;
  const Packet packet = *ParsePacket(bytes);
  std::string right = bytes;
  FlipBit(right, packet, 0, /*right_checksum=*/true);
  EXPECT_EQ(right.substr(26, 2), std::string(2, '\0'));
  FlipBit(bytes, packet, 0, /*right_checksum=*/false);
  EXPECT_NE(bytes.substr(26, 2), std::string(2, '\0'));
  EXPECT_NE(Verify(bytes, packet), 0xffff);
}

TEST(FlipBit, KnowsTheChecksumOfEachFamily) {
  std::string six = Bytes({0x60, 0, 0, 0, 0, 13, 17, 64, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,  //
                           0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,                                //
                           1, 2, 3, 4, 0, 13, 0, 0}) + "hello";
  std::string four = Udp4();
  four[26] = four[27] = 0;
  for (std::string bytes : {four, six}) {
    const Packet packet = *ParsePacket(bytes);
    FlipBit(bytes, packet, 3, /*right_checksum=*/false);
    EXPECT_NE(Verify(bytes, packet), 0xffff);
    bytes[packet.payload] = 'h';
    EXPECT_EQ(Verify(bytes, packet), 0xffff) << "that of the payload that was sent";
  }
}

std::string Fates(uint64_t seed, double percent, double correlation, int count) {
  PacketDice dice(seed, percent, correlation);
  std::string fates;
  for (int i = 0; i < count; ++i) fates += dice.Roll() ? '1' : '0';
  return fates;
}

TEST(PacketDice, GivesTheSameScheduleForTheSameSeed) {
  EXPECT_EQ(Fates(7, 10, 25, 10000), Fates(7, 10, 25, 10000));
  EXPECT_NE(Fates(7, 10, 25, 10000), Fates(8, 10, 25, 10000));
  // The first of them, for good: other hosts and versions draw the same.
  EXPECT_EQ(Fates(7, 50, 0, 16), "0010110010001101");
}

TEST(PacketDice, HitsItsShareWhateverTheCorrelation) {
  for (const double correlation : {0., 50., 90.}) {
    const std::string fates = Fates(11, 10, correlation, 400000);
    const auto hits = static_cast<double>(std::count(fates.begin(), fates.end(), '1'));
    EXPECT_NEAR(hits / 4000, 10, 0.5) << correlation;
    double same = 0;
    for (size_t i = 1; i < fates.size(); ++i) same += fates[i] == fates[i - 1];
    // Alike by correlation, or by chance (0.1^2 + 0.9^2).
    EXPECT_NEAR(same / 4000, correlation + (100 - correlation) * 0.82, 0.5) << correlation;
  }
}

TEST(PacketDice, HitsAllAtAHundredPercentAndNoneAtZero) {
  EXPECT_EQ(Fates(1, 100, 0, 1000), std::string(1000, '1'));
  EXPECT_EQ(Fates(1, 0, 0, 1000), std::string(1000, '0'));
}

}  // namespace
}  // namespace squall
