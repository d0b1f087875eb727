//! The catalogue of host metrics.
//!
//! Names, units and labels are node_exporter's for what node_exporter has, so that dashboards the world
//! already owns work on the hub unchanged; what we add follows the same rules and starts with `outpost_`. A value is an integer of
//! `10^scale` of the unit in the name: a counter of jiffies at USER_HZ 100 is `_seconds_total` with scale -2.
//!
//! The number of a variant never leaves the process: a dictionary carries names. Entries stand in the byte order of
//! their names, which keeps those of one probe together and lets a probe find a metric by the kernel's own word
//! for it: the catalogue is the filter.

use crate::series::{Kind, Series};

/// What the catalogue says of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The metric's name.
    pub name: &'static str,
    /// How values are to be read.
    pub kind: Kind,
    /// A value `v` stands for `v * 10^scale`.
    pub scale: i8,
    /// One line for people.
    pub help: &'static str,
}

impl Metric {
    /// What the catalogue says of this metric.
    pub fn definition(self) -> &'static Definition {
        &DEFINITIONS[self as usize]
    }

    /// This metric with canonical label text.
    pub fn with(self, labels: &str) -> Series<&str> {
        let definition = self.definition();
        Series { name: definition.name, labels, kind: definition.kind as u8, scale: definition.scale }
    }

    /// The metric of that name, if the catalogue has it.
    pub fn named(name: &[u8]) -> Option<Metric> {
        let index = DEFINITIONS.binary_search_by(|definition| definition.name.as_bytes().cmp(name)).ok()?;
        Some(Metric::ALL[index])
    }
}

macro_rules! catalogue {
    ($($variant:ident $name:literal $kind:ident $scale:literal $help:literal;)*) => {
        /// A metric of the catalogue, in the byte order of the names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        /// Every definition, in the order of the variants.
        pub const DEFINITIONS: &[Definition] = &[
            $(Definition { name: $name, kind: Kind::$kind, scale: $scale, help: $help },)*
        ];

        impl Metric {
            /// Every metric, in order.
            pub const ALL: &[Metric] = &[$(Metric::$variant,)*];
        }
    };
}

catalogue! {
    GroupCpuSeconds "namedprocess_namegroup_cpu_seconds_total" Counter -2 "CPU usage in seconds of the processes of one name, user and system.";
    GroupMemory "namedprocess_namegroup_memory_bytes" Gauge 0 "Number of bytes of memory in use by the processes of one name.";
    GroupProcs "namedprocess_namegroup_num_procs" Gauge 0 "Number of processes of one name.";
    BootTime "node_boot_time_seconds" Gauge 0 "Node boot time, in unixtime.";
    ContextSwitches "node_context_switches_total" Counter 0 "Total number of context switches.";
    CpuFrequencyMax "node_cpu_frequency_max_hertz" Gauge 0 "Maximum CPU thread frequency in hertz.";
    CpuFrequencyMin "node_cpu_frequency_min_hertz" Gauge 0 "Minimum CPU thread frequency in hertz.";
    CpuGuestSeconds "node_cpu_guest_seconds_total" Counter -2 "Seconds the CPUs spent in guests (VMs) for each mode.";
    CpuScalingFrequency "node_cpu_scaling_frequency_hertz" Gauge 0 "Current scaled CPU thread frequency in hertz.";
    CpuScalingFrequencyMax "node_cpu_scaling_frequency_max_hertz" Gauge 0 "Maximum scaled CPU thread frequency in hertz.";
    CpuScalingFrequencyMin "node_cpu_scaling_frequency_min_hertz" Gauge 0 "Minimum scaled CPU thread frequency in hertz.";
    CpuSeconds "node_cpu_seconds_total" Counter -2 "Seconds the CPUs spent in each mode.";
    DiskDiscardTime "node_disk_discard_time_seconds_total" Counter -3 "This is the total number of seconds spent by all discards.";
    DiskDiscardedSectors "node_disk_discarded_sectors_total" Counter 0 "The total number of sectors discarded successfully.";
    DiskDiscardsCompleted "node_disk_discards_completed_total" Counter 0 "The total number of discards completed successfully.";
    DiskDiscardsMerged "node_disk_discards_merged_total" Counter 0 "The total number of discards merged.";
    DiskFlushRequestsTime "node_disk_flush_requests_time_seconds_total" Counter -3 "This is the total number of seconds spent by all flush requests.";
    DiskFlushRequests "node_disk_flush_requests_total" Counter 0 "The total number of flush requests completed successfully.";
    DiskIoNow "node_disk_io_now" Gauge 0 "The number of I/Os currently in progress.";
    DiskIoTime "node_disk_io_time_seconds_total" Counter -3 "Total seconds spent doing I/Os.";
    DiskIoTimeWeighted "node_disk_io_time_weighted_seconds_total" Counter -3 "The weighted number of seconds spent doing I/Os.";
    DiskReadBytes "node_disk_read_bytes_total" Counter 0 "The total number of bytes read successfully.";
    DiskReadTime "node_disk_read_time_seconds_total" Counter -3 "The total number of seconds spent by all reads.";
    DiskReadsCompleted "node_disk_reads_completed_total" Counter 0 "The total number of reads completed successfully.";
    DiskReadsMerged "node_disk_reads_merged_total" Counter 0 "The total number of reads merged.";
    DiskWriteTime "node_disk_write_time_seconds_total" Counter -3 "This is the total number of seconds spent by all writes.";
    DiskWritesCompleted "node_disk_writes_completed_total" Counter 0 "The total number of writes completed successfully.";
    DiskWritesMerged "node_disk_writes_merged_total" Counter 0 "The number of writes merged.";
    DiskWrittenBytes "node_disk_written_bytes_total" Counter 0 "The total number of bytes written successfully.";
    EntropyAvailable "node_entropy_available_bits" Gauge 0 "Bits of available entropy.";
    EntropyPoolSize "node_entropy_pool_size_bits" Gauge 0 "Bits of entropy pool.";
    FilefdAllocated "node_filefd_allocated" Gauge 0 "File descriptor statistics: allocated.";
    FilefdMaximum "node_filefd_maximum" Gauge 0 "File descriptor statistics: maximum.";
    FilesystemAvail "node_filesystem_avail_bytes" Gauge 0 "Filesystem space available to non-root users in bytes.";
    FilesystemDeviceError "node_filesystem_device_error" Gauge 0 "Whether an error occurred while getting statistics for the given device.";
    FilesystemFiles "node_filesystem_files" Gauge 0 "Filesystem total file nodes.";
    FilesystemFilesFree "node_filesystem_files_free" Gauge 0 "Filesystem total free file nodes.";
    FilesystemFree "node_filesystem_free_bytes" Gauge 0 "Filesystem free space in bytes.";
    FilesystemReadonly "node_filesystem_readonly" Gauge 0 "Filesystem read-only status.";
    FilesystemSize "node_filesystem_size_bytes" Gauge 0 "Filesystem size in bytes.";
    Forks "node_forks_total" Counter 0 "Total number of forks.";
    HwmonChipNames "node_hwmon_chip_names" Gauge 0 "Annotation metric for human-readable chip names.";
    HwmonCurrAmps "node_hwmon_curr_amps" Gauge -3 "Hardware monitor for current (input).";
    HwmonEnergyJoules "node_hwmon_energy_joule_total" Counter -6 "Hardware monitor for joules used so far (input).";
    HwmonFanRpm "node_hwmon_fan_rpm" Gauge 0 "Hardware monitor for fan revolutions per minute (input).";
    HwmonHumidity "node_hwmon_humidity" Gauge -6 "Hardware monitor for humidity, as a ratio (input).";
    HwmonInVolts "node_hwmon_in_volts" Gauge -3 "Hardware monitor for voltage (input).";
    HwmonPowerAverageWatts "node_hwmon_power_average_watt" Gauge -6 "Hardware monitor for power usage in watts (average).";
    HwmonPowerWatts "node_hwmon_power_watt" Gauge -6 "Hardware monitor for power usage in watts (input).";
    HwmonSensorLabel "node_hwmon_sensor_label" Gauge 0 "Label for given chip and sensor.";
    HwmonTempCelsius "node_hwmon_temp_celsius" Gauge -3 "Hardware monitor for temperature (input).";
    HwmonTempCritCelsius "node_hwmon_temp_crit_celsius" Gauge -3 "Hardware monitor for temperature (crit).";
    HwmonTempMaxCelsius "node_hwmon_temp_max_celsius" Gauge -3 "Hardware monitor for temperature (max).";
    Interrupts "node_intr_total" Counter 0 "Total number of interrupts serviced.";
    Load1 "node_load1" Gauge -2 "1m load average.";
    Load15 "node_load15" Gauge -2 "15m load average.";
    Load5 "node_load5" Gauge -2 "5m load average.";
    MemoryActiveAnon "node_memory_Active_anon_bytes" Gauge 0 "Memory information field Active_anon_bytes.";
    MemoryActive "node_memory_Active_bytes" Gauge 0 "Memory information field Active_bytes.";
    MemoryActiveFile "node_memory_Active_file_bytes" Gauge 0 "Memory information field Active_file_bytes.";
    MemoryAnonHugePages "node_memory_AnonHugePages_bytes" Gauge 0 "Memory information field AnonHugePages_bytes.";
    MemoryAnonPages "node_memory_AnonPages_bytes" Gauge 0 "Memory information field AnonPages_bytes.";
    MemoryBalloon "node_memory_Balloon_bytes" Gauge 0 "Memory information field Balloon_bytes.";
    MemoryBounce "node_memory_Bounce_bytes" Gauge 0 "Memory information field Bounce_bytes.";
    MemoryBuffers "node_memory_Buffers_bytes" Gauge 0 "Memory information field Buffers_bytes.";
    MemoryCached "node_memory_Cached_bytes" Gauge 0 "Memory information field Cached_bytes.";
    MemoryCmaFree "node_memory_CmaFree_bytes" Gauge 0 "Memory information field CmaFree_bytes.";
    MemoryCmaTotal "node_memory_CmaTotal_bytes" Gauge 0 "Memory information field CmaTotal_bytes.";
    MemoryCommitLimit "node_memory_CommitLimit_bytes" Gauge 0 "Memory information field CommitLimit_bytes.";
    MemoryCommittedAS "node_memory_Committed_AS_bytes" Gauge 0 "Memory information field Committed_AS_bytes.";
    MemoryDirectMap1G "node_memory_DirectMap1G_bytes" Gauge 0 "Memory information field DirectMap1G_bytes.";
    MemoryDirectMap1M "node_memory_DirectMap1M_bytes" Gauge 0 "Memory information field DirectMap1M_bytes.";
    MemoryDirectMap2G "node_memory_DirectMap2G_bytes" Gauge 0 "Memory information field DirectMap2G_bytes.";
    MemoryDirectMap2M "node_memory_DirectMap2M_bytes" Gauge 0 "Memory information field DirectMap2M_bytes.";
    MemoryDirectMap4M "node_memory_DirectMap4M_bytes" Gauge 0 "Memory information field DirectMap4M_bytes.";
    MemoryDirectMap4k "node_memory_DirectMap4k_bytes" Gauge 0 "Memory information field DirectMap4k_bytes.";
    MemoryDirectMap64k "node_memory_DirectMap64k_bytes" Gauge 0 "Memory information field DirectMap64k_bytes.";
    MemoryDirty "node_memory_Dirty_bytes" Gauge 0 "Memory information field Dirty_bytes.";
    MemoryEarlyMemtestBad "node_memory_EarlyMemtestBad_bytes" Gauge 0 "Memory information field EarlyMemtestBad_bytes.";
    MemoryFileHugePages "node_memory_FileHugePages_bytes" Gauge 0 "Memory information field FileHugePages_bytes.";
    MemoryFilePmdMapped "node_memory_FilePmdMapped_bytes" Gauge 0 "Memory information field FilePmdMapped_bytes.";
    MemoryGPUActive "node_memory_GPUActive_bytes" Gauge 0 "Memory information field GPUActive_bytes.";
    MemoryGPUReclaim "node_memory_GPUReclaim_bytes" Gauge 0 "Memory information field GPUReclaim_bytes.";
    MemoryHardwareCorrupted "node_memory_HardwareCorrupted_bytes" Gauge 0 "Memory information field HardwareCorrupted_bytes.";
    MemoryHighFree "node_memory_HighFree_bytes" Gauge 0 "Memory information field HighFree_bytes.";
    MemoryHighTotal "node_memory_HighTotal_bytes" Gauge 0 "Memory information field HighTotal_bytes.";
    MemoryHugePagesFree "node_memory_HugePages_Free" Gauge 0 "Memory information field HugePages_Free.";
    MemoryHugePagesRsvd "node_memory_HugePages_Rsvd" Gauge 0 "Memory information field HugePages_Rsvd.";
    MemoryHugePagesSurp "node_memory_HugePages_Surp" Gauge 0 "Memory information field HugePages_Surp.";
    MemoryHugePagesTotal "node_memory_HugePages_Total" Gauge 0 "Memory information field HugePages_Total.";
    MemoryHugepagesize "node_memory_Hugepagesize_bytes" Gauge 0 "Memory information field Hugepagesize_bytes.";
    MemoryHugetlb "node_memory_Hugetlb_bytes" Gauge 0 "Memory information field Hugetlb_bytes.";
    MemoryInactiveAnon "node_memory_Inactive_anon_bytes" Gauge 0 "Memory information field Inactive_anon_bytes.";
    MemoryInactive "node_memory_Inactive_bytes" Gauge 0 "Memory information field Inactive_bytes.";
    MemoryInactiveFile "node_memory_Inactive_file_bytes" Gauge 0 "Memory information field Inactive_file_bytes.";
    MemoryKReclaimable "node_memory_KReclaimable_bytes" Gauge 0 "Memory information field KReclaimable_bytes.";
    MemoryKernelStack "node_memory_KernelStack_bytes" Gauge 0 "Memory information field KernelStack_bytes.";
    MemoryLowFree "node_memory_LowFree_bytes" Gauge 0 "Memory information field LowFree_bytes.";
    MemoryLowTotal "node_memory_LowTotal_bytes" Gauge 0 "Memory information field LowTotal_bytes.";
    MemoryMapped "node_memory_Mapped_bytes" Gauge 0 "Memory information field Mapped_bytes.";
    MemoryMemAvailable "node_memory_MemAvailable_bytes" Gauge 0 "Memory information field MemAvailable_bytes.";
    MemoryMemFree "node_memory_MemFree_bytes" Gauge 0 "Memory information field MemFree_bytes.";
    MemoryMemTotal "node_memory_MemTotal_bytes" Gauge 0 "Memory information field MemTotal_bytes.";
    MemoryMlocked "node_memory_Mlocked_bytes" Gauge 0 "Memory information field Mlocked_bytes.";
    MemoryMmapCopy "node_memory_MmapCopy_bytes" Gauge 0 "Memory information field MmapCopy_bytes.";
    MemoryNFSUnstable "node_memory_NFS_Unstable_bytes" Gauge 0 "Memory information field NFS_Unstable_bytes.";
    MemoryPageTables "node_memory_PageTables_bytes" Gauge 0 "Memory information field PageTables_bytes.";
    MemoryPercpu "node_memory_Percpu_bytes" Gauge 0 "Memory information field Percpu_bytes.";
    MemoryQuicklists "node_memory_Quicklists_bytes" Gauge 0 "Memory information field Quicklists_bytes.";
    MemorySReclaimable "node_memory_SReclaimable_bytes" Gauge 0 "Memory information field SReclaimable_bytes.";
    MemorySUnreclaim "node_memory_SUnreclaim_bytes" Gauge 0 "Memory information field SUnreclaim_bytes.";
    MemorySecPageTables "node_memory_SecPageTables_bytes" Gauge 0 "Memory information field SecPageTables_bytes.";
    MemoryShadowCallStack "node_memory_ShadowCallStack_bytes" Gauge 0 "Memory information field ShadowCallStack_bytes.";
    MemoryShmemHugePages "node_memory_ShmemHugePages_bytes" Gauge 0 "Memory information field ShmemHugePages_bytes.";
    MemoryShmemPmdMapped "node_memory_ShmemPmdMapped_bytes" Gauge 0 "Memory information field ShmemPmdMapped_bytes.";
    MemoryShmem "node_memory_Shmem_bytes" Gauge 0 "Memory information field Shmem_bytes.";
    MemorySlab "node_memory_Slab_bytes" Gauge 0 "Memory information field Slab_bytes.";
    MemorySwapCached "node_memory_SwapCached_bytes" Gauge 0 "Memory information field SwapCached_bytes.";
    MemorySwapFree "node_memory_SwapFree_bytes" Gauge 0 "Memory information field SwapFree_bytes.";
    MemorySwapTotal "node_memory_SwapTotal_bytes" Gauge 0 "Memory information field SwapTotal_bytes.";
    MemoryUnaccepted "node_memory_Unaccepted_bytes" Gauge 0 "Memory information field Unaccepted_bytes.";
    MemoryUnevictable "node_memory_Unevictable_bytes" Gauge 0 "Memory information field Unevictable_bytes.";
    MemoryVmallocChunk "node_memory_VmallocChunk_bytes" Gauge 0 "Memory information field VmallocChunk_bytes.";
    MemoryVmallocTotal "node_memory_VmallocTotal_bytes" Gauge 0 "Memory information field VmallocTotal_bytes.";
    MemoryVmallocUsed "node_memory_VmallocUsed_bytes" Gauge 0 "Memory information field VmallocUsed_bytes.";
    MemoryWritebackTmp "node_memory_WritebackTmp_bytes" Gauge 0 "Memory information field WritebackTmp_bytes.";
    MemoryWriteback "node_memory_Writeback_bytes" Gauge 0 "Memory information field Writeback_bytes.";
    MemoryZswap "node_memory_Zswap_bytes" Gauge 0 "Memory information field Zswap_bytes.";
    MemoryZswapped "node_memory_Zswapped_bytes" Gauge 0 "Memory information field Zswapped_bytes.";
    NetstatIcmp6InErrors "node_netstat_Icmp6_InErrors" Counter 0 "Statistic Icmp6InErrors.";
    NetstatIcmp6InMsgs "node_netstat_Icmp6_InMsgs" Counter 0 "Statistic Icmp6InMsgs.";
    NetstatIcmp6OutMsgs "node_netstat_Icmp6_OutMsgs" Counter 0 "Statistic Icmp6OutMsgs.";
    NetstatIcmpInErrors "node_netstat_Icmp_InErrors" Counter 0 "Statistic IcmpInErrors.";
    NetstatIcmpInMsgs "node_netstat_Icmp_InMsgs" Counter 0 "Statistic IcmpInMsgs.";
    NetstatIcmpOutMsgs "node_netstat_Icmp_OutMsgs" Counter 0 "Statistic IcmpOutMsgs.";
    NetstatIp6InOctets "node_netstat_Ip6_InOctets" Counter 0 "Statistic Ip6InOctets.";
    NetstatIp6OutOctets "node_netstat_Ip6_OutOctets" Counter 0 "Statistic Ip6OutOctets.";
    NetstatIpExtInOctets "node_netstat_IpExt_InOctets" Counter 0 "Statistic IpExtInOctets.";
    NetstatIpExtOutOctets "node_netstat_IpExt_OutOctets" Counter 0 "Statistic IpExtOutOctets.";
    NetstatIpForwarding "node_netstat_Ip_Forwarding" Gauge 0 "Statistic IpForwarding.";
    NetstatTcpExtListenDrops "node_netstat_TcpExt_ListenDrops" Counter 0 "Statistic TcpExtListenDrops.";
    NetstatTcpExtListenOverflows "node_netstat_TcpExt_ListenOverflows" Counter 0 "Statistic TcpExtListenOverflows.";
    NetstatTcpExtSyncookiesFailed "node_netstat_TcpExt_SyncookiesFailed" Counter 0 "Statistic TcpExtSyncookiesFailed.";
    NetstatTcpExtSyncookiesRecv "node_netstat_TcpExt_SyncookiesRecv" Counter 0 "Statistic TcpExtSyncookiesRecv.";
    NetstatTcpExtSyncookiesSent "node_netstat_TcpExt_SyncookiesSent" Counter 0 "Statistic TcpExtSyncookiesSent.";
    NetstatTcpExtTcpSynRetrans "node_netstat_TcpExt_TCPSynRetrans" Counter 0 "Statistic TcpExtTCPSynRetrans.";
    NetstatTcpExtTcpTimeouts "node_netstat_TcpExt_TCPTimeouts" Counter 0 "Statistic TcpExtTCPTimeouts.";
    NetstatTcpActiveOpens "node_netstat_Tcp_ActiveOpens" Counter 0 "Statistic TcpActiveOpens.";
    NetstatTcpCurrEstab "node_netstat_Tcp_CurrEstab" Gauge 0 "Statistic TcpCurrEstab.";
    NetstatTcpInErrs "node_netstat_Tcp_InErrs" Counter 0 "Statistic TcpInErrs.";
    NetstatTcpInSegs "node_netstat_Tcp_InSegs" Counter 0 "Statistic TcpInSegs.";
    NetstatTcpOutRsts "node_netstat_Tcp_OutRsts" Counter 0 "Statistic TcpOutRsts.";
    NetstatTcpOutSegs "node_netstat_Tcp_OutSegs" Counter 0 "Statistic TcpOutSegs.";
    NetstatTcpPassiveOpens "node_netstat_Tcp_PassiveOpens" Counter 0 "Statistic TcpPassiveOpens.";
    NetstatTcpRetransSegs "node_netstat_Tcp_RetransSegs" Counter 0 "Statistic TcpRetransSegs.";
    NetstatUdp6InDatagrams "node_netstat_Udp6_InDatagrams" Counter 0 "Statistic Udp6InDatagrams.";
    NetstatUdp6InErrors "node_netstat_Udp6_InErrors" Counter 0 "Statistic Udp6InErrors.";
    NetstatUdp6NoPorts "node_netstat_Udp6_NoPorts" Counter 0 "Statistic Udp6NoPorts.";
    NetstatUdp6OutDatagrams "node_netstat_Udp6_OutDatagrams" Counter 0 "Statistic Udp6OutDatagrams.";
    NetstatUdp6RcvbufErrors "node_netstat_Udp6_RcvbufErrors" Counter 0 "Statistic Udp6RcvbufErrors.";
    NetstatUdp6SndbufErrors "node_netstat_Udp6_SndbufErrors" Counter 0 "Statistic Udp6SndbufErrors.";
    NetstatUdpLite6InErrors "node_netstat_UdpLite6_InErrors" Counter 0 "Statistic UdpLite6InErrors.";
    NetstatUdpLiteInErrors "node_netstat_UdpLite_InErrors" Counter 0 "Statistic UdpLiteInErrors.";
    NetstatUdpInDatagrams "node_netstat_Udp_InDatagrams" Counter 0 "Statistic UdpInDatagrams.";
    NetstatUdpInErrors "node_netstat_Udp_InErrors" Counter 0 "Statistic UdpInErrors.";
    NetstatUdpNoPorts "node_netstat_Udp_NoPorts" Counter 0 "Statistic UdpNoPorts.";
    NetstatUdpOutDatagrams "node_netstat_Udp_OutDatagrams" Counter 0 "Statistic UdpOutDatagrams.";
    NetstatUdpRcvbufErrors "node_netstat_Udp_RcvbufErrors" Counter 0 "Statistic UdpRcvbufErrors.";
    NetstatUdpSndbufErrors "node_netstat_Udp_SndbufErrors" Counter 0 "Statistic UdpSndbufErrors.";
    NetworkCarrier "node_network_carrier" Gauge 0 "Network device property: carrier.";
    NetworkCarrierChanges "node_network_carrier_changes_total" Counter 0 "Network device property: carrier_changes_total.";
    NetworkMtu "node_network_mtu_bytes" Gauge 0 "Network device property: mtu_bytes.";
    NetworkReceiveBytes "node_network_receive_bytes_total" Counter 0 "Network device statistic receive_bytes.";
    NetworkReceiveCompressed "node_network_receive_compressed_total" Counter 0 "Network device statistic receive_compressed.";
    NetworkReceiveDrop "node_network_receive_drop_total" Counter 0 "Network device statistic receive_drop.";
    NetworkReceiveErrs "node_network_receive_errs_total" Counter 0 "Network device statistic receive_errs.";
    NetworkReceiveFifo "node_network_receive_fifo_total" Counter 0 "Network device statistic receive_fifo.";
    NetworkReceiveFrame "node_network_receive_frame_total" Counter 0 "Network device statistic receive_frame.";
    NetworkReceiveMulticast "node_network_receive_multicast_total" Counter 0 "Network device statistic receive_multicast.";
    NetworkReceiveNohandler "node_network_receive_nohandler_total" Counter 0 "Network device statistic receive_nohandler.";
    NetworkReceivePackets "node_network_receive_packets_total" Counter 0 "Network device statistic receive_packets.";
    NetworkSpeed "node_network_speed_bytes" Gauge 0 "Network device property: speed_bytes.";
    NetworkTransmitBytes "node_network_transmit_bytes_total" Counter 0 "Network device statistic transmit_bytes.";
    NetworkTransmitCarrier "node_network_transmit_carrier_total" Counter 0 "Network device statistic transmit_carrier.";
    NetworkTransmitColls "node_network_transmit_colls_total" Counter 0 "Network device statistic transmit_colls.";
    NetworkTransmitCompressed "node_network_transmit_compressed_total" Counter 0 "Network device statistic transmit_compressed.";
    NetworkTransmitDrop "node_network_transmit_drop_total" Counter 0 "Network device statistic transmit_drop.";
    NetworkTransmitErrs "node_network_transmit_errs_total" Counter 0 "Network device statistic transmit_errs.";
    NetworkTransmitFifo "node_network_transmit_fifo_total" Counter 0 "Network device statistic transmit_fifo.";
    NetworkTransmitPackets "node_network_transmit_packets_total" Counter 0 "Network device statistic transmit_packets.";
    NetworkUp "node_network_up" Gauge 0 "Value is 1 if operstate is 'up', 0 otherwise.";
    ConntrackEntries "node_nf_conntrack_entries" Gauge 0 "Number of currently allocated flow entries for connection tracking.";
    ConntrackEntriesLimit "node_nf_conntrack_entries_limit" Gauge 0 "Maximum size of connection tracking table.";
    PressureCpuWaiting "node_pressure_cpu_waiting_seconds_total" Counter -6 "Total time in seconds that processes have waited for CPU time.";
    PressureIoStalled "node_pressure_io_stalled_seconds_total" Counter -6 "Total time in seconds no process could make progress due to I/O congestion.";
    PressureIoWaiting "node_pressure_io_waiting_seconds_total" Counter -6 "Total time in seconds that processes have waited due to I/O congestion.";
    PressureIrqStalled "node_pressure_irq_stalled_seconds_total" Counter -6 "Total time in seconds no process could make progress due to IRQ congestion.";
    PressureMemoryStalled "node_pressure_memory_stalled_seconds_total" Counter -6 "Total time in seconds no process could make progress due to memory congestion.";
    PressureMemoryWaiting "node_pressure_memory_waiting_seconds_total" Counter -6 "Total time in seconds that processes have waited for memory.";
    ProcessesMaxProcesses "node_processes_max_processes" Gauge 0 "Number of max PIDs limit.";
    ProcessesMaxThreads "node_processes_max_threads" Gauge 0 "Limit of threads in the system.";
    ProcessesPids "node_processes_pids" Gauge 0 "Number of PIDs.";
    ProcessesState "node_processes_state" Gauge 0 "Number of processes in each state.";
    ProcessesThreads "node_processes_threads" Gauge 0 "Allocated threads in system.";
    ProcsBlocked "node_procs_blocked" Gauge 0 "Number of processes blocked waiting for I/O to complete.";
    ProcsRunning "node_procs_running" Gauge 0 "Number of processes in runnable state.";
    SockstatFrag6Inuse "node_sockstat_FRAG6_inuse" Gauge 0 "Number of FRAG6 sockets in state inuse.";
    SockstatFrag6Memory "node_sockstat_FRAG6_memory" Gauge 0 "Number of FRAG6 sockets in state memory.";
    SockstatFragInuse "node_sockstat_FRAG_inuse" Gauge 0 "Number of FRAG sockets in state inuse.";
    SockstatFragMemory "node_sockstat_FRAG_memory" Gauge 0 "Number of FRAG sockets in state memory.";
    SockstatRaw6Inuse "node_sockstat_RAW6_inuse" Gauge 0 "Number of RAW6 sockets in state inuse.";
    SockstatRawInuse "node_sockstat_RAW_inuse" Gauge 0 "Number of RAW sockets in state inuse.";
    SockstatTcp6Inuse "node_sockstat_TCP6_inuse" Gauge 0 "Number of TCP6 sockets in state inuse.";
    SockstatTcpAlloc "node_sockstat_TCP_alloc" Gauge 0 "Number of TCP sockets in state alloc.";
    SockstatTcpInuse "node_sockstat_TCP_inuse" Gauge 0 "Number of TCP sockets in state inuse.";
    SockstatTcpMem "node_sockstat_TCP_mem" Gauge 0 "Number of TCP sockets in state mem.";
    SockstatTcpMemBytes "node_sockstat_TCP_mem_bytes" Gauge 0 "Number of TCP sockets in state mem_bytes.";
    SockstatTcpOrphan "node_sockstat_TCP_orphan" Gauge 0 "Number of TCP sockets in state orphan.";
    SockstatTcpTw "node_sockstat_TCP_tw" Gauge 0 "Number of TCP sockets in state tw.";
    SockstatUdp6Inuse "node_sockstat_UDP6_inuse" Gauge 0 "Number of UDP6 sockets in state inuse.";
    SockstatUdplite6Inuse "node_sockstat_UDPLITE6_inuse" Gauge 0 "Number of UDPLITE6 sockets in state inuse.";
    SockstatUdpliteInuse "node_sockstat_UDPLITE_inuse" Gauge 0 "Number of UDPLITE sockets in state inuse.";
    SockstatUdpInuse "node_sockstat_UDP_inuse" Gauge 0 "Number of UDP sockets in state inuse.";
    SockstatUdpMem "node_sockstat_UDP_mem" Gauge 0 "Number of UDP sockets in state mem.";
    SockstatUdpMemBytes "node_sockstat_UDP_mem_bytes" Gauge 0 "Number of UDP sockets in state mem_bytes.";
    SockstatSocketsUsed "node_sockstat_sockets_used" Gauge 0 "Number of sockets in use.";
    ThermalZoneTemp "node_thermal_zone_temp" Gauge -3 "Zone temperature in Celsius.";
    VmstatOomKill "node_vmstat_oom_kill" Counter 0 "/proc/vmstat information field oom_kill.";
    VmstatPgfault "node_vmstat_pgfault" Counter 0 "/proc/vmstat information field pgfault.";
    VmstatPgmajfault "node_vmstat_pgmajfault" Counter 0 "/proc/vmstat information field pgmajfault.";
    VmstatPgpgin "node_vmstat_pgpgin" Counter 0 "/proc/vmstat information field pgpgin.";
    VmstatPgpgout "node_vmstat_pgpgout" Counter 0 "/proc/vmstat information field pgpgout.";
    VmstatPswpin "node_vmstat_pswpin" Counter 0 "/proc/vmstat information field pswpin.";
    VmstatPswpout "node_vmstat_pswpout" Counter 0 "/proc/vmstat information field pswpout.";
    HwmonInLcritAlarm "outpost_hwmon_in_lcrit_alarm" Gauge 0 "Whether a supply voltage is below its critical minimum.";
    ProcessesSkipped "outpost_processes_skipped" Gauge 0 "Processes that one walk had no room for.";
    Throttled "outpost_throttled" Gauge 0 "Whether the firmware slows the board down, or would, for each condition.";
    ThrottledSinceBoot "outpost_throttled_since_boot" Gauge 0 "Whether each condition was ever met since boot.";
    UplinkBytes "outpost_uplink_bytes_total" Counter 0 "Bytes of whole IP packets in both directions, by bearer and by what they were for.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::NAME_BYTES_MAX;

    #[test]
    fn every_metric_is_found_by_its_name() {
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.definition().name.as_bytes()), Some(*metric));
        }
        assert_eq!(Metric::named(b"node_load"), None);
    }

    #[test]
    fn names_are_sorted_and_fit() {
        assert!(DEFINITIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(DEFINITIONS.iter().all(|definition| definition.name.len() <= NAME_BYTES_MAX));
    }
}
